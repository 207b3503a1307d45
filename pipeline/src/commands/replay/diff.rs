//! `replay diff`: fetches the rows of both sides, has them judged, keeps the report.

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::Arc};

use console::site::{KeepReport, ReplayState, ReplayVerdict};
use replay::{
    diff::{Comparison, compare},
    plan::{Lost, Pins, Plan},
    report::{
        Facts, Pin, Report,
        html::{self, Language, Limits, Pictures},
        junit,
    },
    result::{Arm, StageResult},
    verdict::{Outcome, Verdict},
};
use runtime::bounded::BoundedReader;
use schemas::{BlobRef, RunId, StudyUid};
use services::ObjectBlobs;
use stage::Blobs as _;

use super::{broker, live};
use crate::{
    api_client::ApiClient,
    cli::{Options, ReplayDiff},
    config::{BlobsKind, Config},
    exit::{Exit, Failure},
    system::open_blobs,
    whole_file,
};

pub(super) fn run(arguments: &ReplayDiff, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let api = ApiClient::connect(options, &config.data_dir)?;
    let run = &arguments.run;
    let found = api.replay(run)?;
    let found =
        found.ok_or_else(|| Failure::usage(format!("run {run} is not known to the running system")))?;
    if found.state != ReplayState::Finished {
        let why = found.failure.map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(Failure::from(format!(
            "run {run} is not finished{why}; `prescreen replay run` takes it up again"
        )));
    }
    let plan = api.replay_plan(run)?;
    let reader = BoundedReader::connect(&broker(config)?)?;
    let sides = Sides::fetch(&api, &reader, run, arguments.baseline.as_ref(), &plan)?;
    let confirmed = api.confirmed_studies()?;
    let truth: BTreeMap<StudyUid, f64> =
        confirmed.into_iter().map(|study| (study.findings.study.study_uid, study.truth_ef)).collect();
    let report = compare(&Comparison {
        run: run.clone(),
        baseline: sides.baseline,
        candidate: sides.candidate,
        noise: sides.noise,
        margins: config.replay.margins,
        seed: arguments.seed,
        truth,
        facts: facts(&plan),
    })?;

    let cache = tempfile::Builder::new().prefix("prescreen-replay-").tempdir()?;
    let root = match config.blobs.kind {
        BlobsKind::Folder => config.data_dir.as_path(),
        BlobsKind::S3 => cache.path(),
    };
    let mut album = Album(open_blobs(config, root)?);
    let page = html::page(&report, &mut album, Language::Both, Limits::PAGE)?;
    let json = report.to_json()?;
    let verdict = match report.verdict {
        Verdict::Pass => ReplayVerdict::Pass,
        Verdict::Regression => ReplayVerdict::Regression,
        Verdict::Inconclusive => ReplayVerdict::Inconclusive,
    };
    let write = |path: Option<&Path>, text: &str| match path {
        Some(path) => whole_file::write(path, text.as_bytes())
            .map_err(|error| Failure::from(format!("cannot write {}: {error}", path.display()))),
        None => Ok(()),
    };
    write(arguments.html.as_deref(), &page)?;
    write(arguments.junit.as_deref(), &junit::to_junit(&report))?;
    write(arguments.json_file.as_deref(), &json)?;
    let sha256 = api.keep_report(run, &KeepReport { verdict, html: page, json: json.clone() })?;

    let mut out = std::io::stdout().lock();
    if options.json && arguments.json_file.is_none() {
        out.write_all(json.as_bytes())?;
    } else {
        print(&mut out, &report)?;
        writeln!(out, "report sha-256 {sha256}")?;
    }
    Ok(match report.verdict {
        Verdict::Pass => Exit::Done,
        Verdict::Regression => Exit::No,
        Verdict::Inconclusive => Exit::Inconclusive,
    })
}

/// What is compared, and the baseline's second answer.
struct Sides {
    baseline: Vec<StageResult>,
    candidate: Vec<StageResult>,
    noise: Option<Vec<StageResult>>,
}

impl Sides {
    fn fetch(
        api: &ApiClient,
        reader: &BoundedReader,
        run: &RunId,
        baseline: Option<&RunId>,
        plan: &Plan,
    ) -> Result<Self, Failure> {
        let (mut repeated, mut candidate) = (Vec::new(), Vec::new());
        api.each_result(run, |row| match row.arm {
            Arm::Candidate => candidate.push(row),
            Arm::Baseline | Arm::Live => repeated.push(row),
        })?;
        let live = live::rows(api, reader, plan)?;
        let some = |rows: Vec<StageResult>| Some(rows).filter(|rows| !rows.is_empty());
        let (baseline, noise) = match baseline {
            None if repeated.is_empty() => (live, None),
            None => (repeated, some(live)),
            Some(named) if *named == RunId::live() => (live, some(repeated)),
            Some(named) if named == run => (repeated, some(live)),
            Some(named) => {
                let other = api.replay(named)?;
                let other = other
                    .ok_or_else(|| Failure::usage(format!("--baseline {named} is no run of this system")))?;
                let planned = api.replay_plan(named)?;
                if planned.inputs != plan.inputs
                    || planned.baseline.config_sha256 != plan.baseline.config_sha256
                {
                    return Err(Failure::usage(format!(
                        "--baseline {named} has other inputs or another baseline than run {run}"
                    )));
                }
                let mut rows = Vec::new();
                api.each_result(&other.run_id, |row| {
                    rows.extend(Some(row).filter(|row| row.arm == Arm::Baseline));
                })?;
                if rows.is_empty() {
                    return Err(Failure::usage(format!(
                        "run {named} has no repeated baseline; it was run without --repeat-baseline"
                    )));
                }
                (rows, some(repeated).or_else(|| some(live)))
            }
        };
        Ok(Self { baseline, candidate, noise })
    }
}

fn facts(plan: &Plan) -> Facts {
    let lost = plan.lost.iter().filter(|lost| !matches!(lost, Lost::Records { .. })).count();
    Facts {
        plan_sha256: Some(plan.sha256()),
        start_stage: plan.stages.first().cloned().unwrap_or_default(),
        inputs: plan.inputs.len() as u64,
        lost_inputs: lost as u64,
        pins: pins(&plan.baseline, &plan.candidate),
    }
}

/// Everything that is pinned, both sides beside each other.
fn pins(baseline: &Pins, candidate: &Pins) -> Vec<Pin> {
    let mut all = Vec::new();
    let mut pin = |name: String, of: &dyn Fn(&Pins) -> String| {
        all.push(Pin { name, baseline: of(baseline), candidate: of(candidate) });
    };
    pin("model".to_owned(), &|pins| format!("{} {}", pins.model.name, pins.model.digest));
    pin("device".to_owned(), &|pins| format!("{} {}", pins.model.device, pins.model.dtype));
    pin("adapter".to_owned(), &|pins| pins.adapter.clone());
    pin("configuration".to_owned(), &|pins| pins.config_sha256.to_string());
    pin("code".to_owned(), &|pins| match &pins.code.revision {
        Some(revision) => format!("{} {revision}", pins.code.version),
        None => pins.code.version.clone(),
    });
    for stage in baseline.stages.keys() {
        let of = |pins: &Pins| {
            pins.stages.get(stage).map(|pins| pins.table_sha256.to_string()).unwrap_or_default()
        };
        pin(format!("table {stage}"), &of);
        let prompts: Vec<&String> =
            baseline.stages.get(stage).into_iter().flat_map(|pins| pins.prompts.keys()).collect();
        for prompt in prompts {
            let of = |pins: &Pins| {
                let prompts = pins.stages.get(stage).map(|pins| &pins.prompts);
                prompts.and_then(|prompts| prompts.get(prompt)).map(ToString::to_string).unwrap_or_default()
            };
            pin(format!("prompt {stage} {prompt}"), &of);
        }
    }
    all
}

/// Masked pictures from the blob store, for the page.
struct Album(Arc<ObjectBlobs>);

impl Pictures for Album {
    fn png(&mut self, image: &BlobRef) -> Option<Vec<u8>> {
        // Only masked pictures are shown, whatever a row refers to.
        if image.area == schemas::Area::Frames { self.0.get(image).ok() } else { None }
    }
}

/// The measures that say something, on the screen.
fn print(out: &mut impl std::io::Write, report: &Report) -> Result<(), Failure> {
    writeln!(out, "run {}: {}", report.run, report.verdict.as_str())?;
    for reason in report.reasons_in_words() {
        writeln!(out, "  {}", reason.en)?;
    }
    if let Some(pairs) = report.pairs_needed {
        writeln!(out, "  about {pairs} pairs would settle what is open")?;
    }
    for measure in report.measures.iter().filter(|measure| measure.outcome != Outcome::Empty) {
        writeln!(out, "  {:<10} {:>5} pairs  {}", measure.outcome.as_str(), measure.pairs, measure.id)?;
    }
    for study in &report.discordant {
        let differs = study.differs.join(", ");
        writeln!(
            out,
            "  differs: study {} revision {}: {differs}",
            study.study.study_uid, study.study.revision
        )?;
    }
    writeln!(out, "memo hits {}, studies that differ {}", report.memo_hits, report.discordant.len())?;
    Ok(())
}
