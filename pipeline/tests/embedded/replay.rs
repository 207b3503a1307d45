//! `replay` beside a running system: planned, run, killed, resumed, judged, promoted, and nothing of the live system touched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use replay::{
    plan::Plan,
    result::{Arm, Ended, StageResult},
};
use serde_json::Value;

use crate::harness::{
    flight::STAGES,
    process::{Place, Service, stderr, stdout},
    studies::{make, small, submit},
    topic::records,
};

const STUDIES: usize = 3;
/// Frames that the candidate wants of a loop: the short ones of [`small`] have about 22, the long one about 40.
const MIN_FRAMES: u32 = 30;

/// A live system that has done one long study and some short ones.
struct Done {
    place: Place,
    service: Service,
    /// The long one first.
    uids: Vec<String>,
}

fn done(name: &str) -> Done {
    let place = Place::new(name);
    let folder = place.folder("sent");
    let mut service = place.start();
    let mut uids = Vec::new();
    for seed in 60..60 + STUDIES as u64 {
        let mut spec = small(seed);
        if seed == 60 {
            spec.machine.beats = 3.2;
        }
        let study = make(&spec, &folder);
        submit(&study, || place.entry());
        uids.push(study.uid);
    }
    for uid in &uids {
        assert_eq!(service.terminal(uid).state, "reported", "{uid}");
    }
    Done { place, service, uids }
}

impl Done {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.folder("replays").join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Exit code and output of a command.
    fn cli(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.place.cli(arguments);
        (output.status.code(), stdout(&output), stderr(&output))
    }

    fn plan(&self, name: &str, candidate: &str) -> PathBuf {
        let candidate = self.file(&format!("{name}.toml"), candidate);
        let out = self.place.folder("replays").join(format!("{name}.json"));
        let (code, said, error) = self.cli(&[
            "replay",
            "plan",
            "--start-stage",
            "quality-gate",
            "--candidate",
            text(&candidate),
            "--out",
            text(&out),
        ]);
        assert_eq!(code, Some(0), "{said}{error}");
        out
    }

    fn run(&self, plan: &Path, run: &str) -> Value {
        let (code, said, error) =
            self.cli(&["replay", "run", text(plan), "--run-id", run, "--repeat-baseline", "--json"]);
        assert_eq!(code, Some(0), "{error}");
        serde_json::from_str(&said).unwrap()
    }

    fn rows(&self, run: &str) -> Vec<StageResult> {
        self.service.json(&format!("/api/replays/{run}/results?limit=1000"))
    }

    /// Exit code and report of a comparison.
    fn diff(&self, run: &str) -> (Option<i32>, Value) {
        let json = self.place.folder("replays").join(format!("{run}.report.json"));
        let html = json.with_extension("html");
        let (code, _, error) =
            self.cli(&["replay", "diff", run, "--html", text(&html), "--json", text(&json)]);
        assert!(matches!(code, Some(0..=2)), "{code:?}: {error}");
        assert!(fs::read_to_string(html).unwrap().contains("</html>"));
        (code, serde_json::from_slice(&fs::read(json).unwrap()).unwrap())
    }

    /// Everything of the live system that a replay could have touched.
    fn live(&mut self) -> BTreeMap<String, String> {
        let place = &self.place;
        self.service.until("every group has committed what there is", || {
            let stages = place.get_status()?.stages;
            (!stages.is_empty() && stages.iter().all(|stage| stage.lag_records == 0)).then_some(())
        });
        let mut seen = BTreeMap::new();
        for uid in &self.uids {
            let timeline = self.service.study(uid).unwrap();
            let rows = format!("{:?} {:?}", timeline.revisions, timeline.events);
            seen.insert(format!("study {uid}"), rows);
            seen.insert(format!("report {uid}"), timeline.report.unwrap().to_string());
        }
        let names =
            ["study.acquired.v1", "study.accepted.v1", "keyframes.extracted.v1", "findings.inferred.v1"];
        for topic in names.iter().chain(&["report.issued.v1", "study.rejected.v1", "study.acquired.v1.dlq"]) {
            seen.insert((*topic).to_owned(), records(&self.service.entry().broker, topic).len().to_string());
        }
        seen.insert("studies".to_owned(), format!("{:?}", self.service.status().studies));
        let memo = fs::read_dir(self.place.data_dir().join("blobs/memo")).unwrap();
        seen.insert("remembered answers".to_owned(), memo.count().to_string());
        seen
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Arm, study, revision and stage.
type Key = (Arm, String, u32, String);

/// What must not depend on when, how often or under which name a run was made.
fn answers(rows: &[StageResult]) -> BTreeMap<Key, (Ended, String, u64, u64)> {
    rows.iter()
        .map(|row| {
            let key = (row.arm, row.study_uid.to_string(), row.revision.0, row.stage.clone());
            let requests = row.model.unwrap().requests;
            (key, (row.ended, row.output_sha256.to_string(), requests, row.memo_hits))
        })
        .collect()
}

fn requests(rows: &[StageResult], arm: Arm) -> u64 {
    rows.iter().filter(|row| row.arm == arm).map(|row| row.model.unwrap().requests).sum()
}

/// Studies in which a report finds the sides to differ.
fn differing(report: &Value) -> Vec<&str> {
    let discordant = report["discordant"].as_array().unwrap();
    let mut uids: Vec<&str> =
        discordant.iter().map(|study| study["study"]["study_uid"].as_str().unwrap()).collect();
    uids.sort_unstable();
    uids
}

#[test]
fn a_candidate_is_judged_beside_the_live_system_and_a_killed_run_goes_on() {
    let mut world = done("replayed service");
    let before = world.live();
    let plan = world.plan("stricter", &format!("[stages.quality_gate.echo]\nmin_frames = {MIN_FRAMES}"));
    let again =
        world.plan("stricter-again", &format!("[stages.quality_gate.echo]\nmin_frames = {MIN_FRAMES}"));
    assert_eq!(fs::read(&plan).unwrap(), fs::read(&again).unwrap(), "the same question makes the same plan");

    // At one go.
    world.run(&plan, "whole");
    let whole = world.rows("whole");
    let rejected: Vec<&StageResult> = whole.iter().filter(|row| row.ended == Ended::Rejected).collect();
    assert!(
        rejected.iter().all(|row| row.arm == Arm::Candidate && row.stage == "quality_gate"),
        "{rejected:?}"
    );
    assert_eq!(rejected.len(), STUDIES - 1, "the long study passes");
    assert!(whole.iter().all(|row| row.ended != Ended::Failed));
    // The untrained model is asked once a study.
    assert_eq!((requests(&whole, Arm::Baseline), requests(&whole, Arm::Candidate)), (STUDIES as u64, 1));

    // Killed half way, and taken up.
    let mut process =
        world.place.spawn(&["replay", "run", text(&plan), "--run-id", "killed", "--repeat-baseline"]);
    let under_way = process.until("some steps are done", || {
        let found: Option<Value> = (world.service.get("/api/replays/killed").0 == 200)
            .then(|| world.service.json("/api/replays/killed"));
        found.filter(|run| run["rows"].as_i64().unwrap() >= 3)
    });
    process.kill();
    assert!((under_way["rows"].as_u64().unwrap() as usize) < whole.len(), "{under_way}");
    let resumed = world.run(&plan, "killed");
    let (rows, taken_up) = (resumed["rows"].as_u64().unwrap(), resumed["taken_up"].as_u64().unwrap());
    assert!(taken_up >= 3 && rows < whole.len() as u64, "{resumed}");
    assert_eq!(answers(&world.rows("killed")), answers(&whole), "the same rows as at one go");
    assert_eq!(world.run(&plan, "killed")["rows"], 0, "a finished run is not done again");

    // Exactly what was planted is found.
    let (code, report) = world.diff("whole");
    let mut short: Vec<&str> = world.uids.iter().skip(1).map(String::as_str).collect();
    short.sort_unstable();
    assert_eq!(differing(&report), short);
    assert_eq!((code, report["memo_hits"].as_u64()), (Some(2), Some(0)), "three pairs prove nothing");

    // An identical candidate: both arms ask, and nothing differs.
    let same = world.plan("same", "");
    world.run(&same, "same");
    let rows = world.rows("same");
    assert_eq!(requests(&rows, Arm::Baseline) + requests(&rows, Arm::Candidate), 2 * STUDIES as u64);
    assert_eq!(rows.iter().map(|row| row.memo_hits).sum::<u64>(), 0);
    assert_eq!(rows.len(), 2 * STUDIES * STAGES.len());
    let (_, report) = world.diff("same");
    assert_eq!(differing(&report), Vec::<&str>::new());

    assert_eq!(world.live(), before, "nothing of the live system has changed");
    promotes_what_was_judged(&world);
    refuses_what_was_not_planned(&world, &plan);
    world.service.stop();
}

fn promotes_what_was_judged(world: &Done) {
    let current = world.place.data_dir().join("current.toml");
    let (code, _, error) = world.cli(&["replay", "promote", "whole"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("inconclusive") && !current.exists(), "{error}");
    let force = ["replay", "promote", "whole", "--force", "the test says so", "--by", "a test"];
    let (code, said, error) = world.cli(&force);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("audit row 1"), "{said}");
    let written = fs::read_to_string(&current).unwrap();
    let run: Value = world.service.json("/api/replays/whole");
    assert!(written.contains(&format!("min_frames = {MIN_FRAMES}")), "{written}");
    assert!(written.contains(run["report_sha256"].as_str().unwrap()), "{written}");
    assert!(!run["promoted_at"].is_null());
    // The next start would read it: the same candidate is no change any more.
    let (code, _, error) = world.cli(&["check"]);
    assert_eq!(code, Some(0), "{error}");
    let plan = Plan::read(&fs::read_to_string(world.plan("no-change", "")).unwrap()).unwrap();
    assert!(plan.baseline.config.contains(&format!("min_frames = {MIN_FRAMES}")));
    let (code, _, error) = world.cli(&["replay", "promote", "same", "--force", "why not"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("stages.quality_gate.echo.min_frames"),
        "the configuration has changed since: {error}"
    );
}

fn refuses_what_was_not_planned(world: &Done, plan: &Path) {
    let text_of_plan = fs::read_to_string(plan).unwrap();
    let read = Plan::read(&text_of_plan).unwrap();
    let refused = |name: &str, text: &str| {
        let path = world.file(name, text);
        let (code, _, error) = world.cli(&["replay", "run", path.to_str().unwrap(), "--run-id", "refused"]);
        (code, error)
    };
    let sha256 = read.inputs[0].sha256.to_string();
    let (code, error) = refused("changed.json", &text_of_plan.replace(&sha256, &"0".repeat(64)));
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains(&sha256) && error.contains("instead of"), "{error}");
    let (code, error) = refused("no-plan.json", "{}");
    assert_eq!(code, Some(64), "{error}");
    assert_eq!(world.service.get("/api/replays/refused").0, 404, "nothing was begun");
    let (code, _, error) = world.cli(&["replay", "run", text(plan), "--run-id", "live"]);
    assert_eq!(code, Some(64), "{error}");

    let broker = world.file("broker.toml", "[broker]\nkind = \"kafka\"");
    let out = world.place.folder("replays").join("never.json");
    let asked = |candidate: &Path, more: &[&str]| {
        let mut arguments = vec![
            "replay",
            "plan",
            "--start-stage",
            "quality-gate",
            "--candidate",
            text(candidate),
            "--out",
            text(&out),
        ];
        arguments.extend(more);
        world.cli(&arguments)
    };
    let (code, _, error) = asked(&broker, &[]);
    assert_eq!((code, error.contains("broker") && !out.exists()), (Some(64), true), "{error}");
    let none = world.file("none.toml", "");
    let (code, _, error) = asked(&none, &["--from", "0:99999"]);
    assert_eq!((code, error.contains("99999")), (Some(64), true), "{error}");

    // A blob that is gone is named by the plan, and a plan made before refuses to run without it.
    let input = &read.inputs[0];
    let gone = &input.blobs[0];
    fs::remove_file(world.place.data_dir().join("blobs").join(gone.key())).unwrap();
    let (code, said, error) = asked(&none, &[]);
    assert_eq!(code, Some(1), "{error}");
    assert!(said.contains(&gone.key()) && said.contains(input.study_uid.as_str()), "{said}");
    let left = Plan::read(&fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!((left.inputs.len(), left.lost.len()), (STUDIES - 1, 1));
    let (code, error) = refused("before.json", &text_of_plan);
    assert_eq!((code, error.contains(&gone.key())), (Some(3), true), "{error}");
}
