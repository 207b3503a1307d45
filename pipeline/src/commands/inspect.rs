//! `inspect`: the quality gate and keyframes on studies from disk, offline: no broker, no database, no model.
//!
//! The files go through intake's own checks into a spool and a blob store that are removed afterwards, so what is
//! judged here is exactly what the service would judge.

use std::{fs, io::Write as _, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Sender, bounded};
use intake::{
    Announce, AnnounceError, Backoff, CompletionTimes, FileOptions, Intake, IntakeConfig, IntakeMetrics,
    Publisher,
};
use jiff::Timestamp;
use keyframes::Keyframes;
use pixels::Identity;
use prometheus::Registry;
use quality_gate::QualityGate;
use schemas::{
    EventId, GatedInstance, KeyframesExtracted, RunId, StudyAccepted, StudyAcquired, StudyUid, Verdict,
};
use serde_json::{Value, json};
use services::ObjectBlobs;
use stage::{Blobs as _, Ctx, ModelBackend, Outcome, Services, Stage};

use crate::{
    cli::{Inspect, Options},
    config::Config,
    exit::{Exit, Failure},
    system::{decode_pool, stage_config},
    word::word,
};

/// One inspected study.
struct Inspected {
    acquired: StudyAcquired,
    verdict: Verdict,
    instances: Vec<GatedInstance>,
    keyframes: Option<KeyframesExtracted>,
}

pub(crate) fn run(arguments: &Inspect, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir()?;
    let blobs = Arc::new(ObjectBlobs::folder(&folder.path().join("blobs"))?);
    let studies = acquire(&arguments.path, folder.path(), &blobs)?;
    let frames = decode_pool(config, &blobs)?;
    let mut tables = config.stages.clone();
    let services = Services { model: Arc::new(NoModel) };
    let mut gate = QualityGate::build(stage_config::<QualityGate>(&mut tables)?(), &services)?;
    let mut keyframes = Keyframes::build(stage_config::<Keyframes>(&mut tables)?(), &services)?;
    let mut ctx = Ctx::new(&*blobs, &frames, Timestamp::UNIX_EPOCH, tracing::Span::none());
    let mut exit = Exit::Done;
    for acquired in studies {
        let inspected = match gate.process(&acquired, &mut ctx)? {
            Outcome::Reject(rejection) => Inspected {
                acquired,
                verdict: Verdict::Reject,
                instances: rejection.instances,
                keyframes: None,
            },
            Outcome::Emit(accepted) => look(acquired, accepted, &mut keyframes, &mut ctx)?,
        };
        if inspected.verdict == Verdict::Reject {
            exit = Exit::No;
        }
        if let Some(out) = &arguments.out {
            write_pictures(&inspected, out, &blobs)?;
        }
        print(&inspected, options)?;
    }
    Ok(exit)
}

fn look(
    acquired: StudyAcquired,
    accepted: StudyAccepted,
    keyframes: &mut Keyframes,
    ctx: &mut Ctx<'_>,
) -> Result<Inspected, Failure> {
    let extracted = keyframes.process(&accepted, ctx)?;
    let (verdict, keyframes) = match extracted {
        Outcome::Emit(extracted) => (accepted.verdict, Some(extracted)),
        Outcome::Reject(_) => (Verdict::Reject, None),
    };
    Ok(Inspected { acquired, verdict, instances: accepted.instances, keyframes })
}

/// Takes the files in as the service would and gives the studies they make.
fn acquire(path: &Path, folder: &Path, blobs: &Arc<ObjectBlobs>) -> Result<Vec<StudyAcquired>, Failure> {
    if !path.exists() {
        return Err(Failure::usage(format!("{} does not exist", path.display())));
    }
    let config = IntakeConfig {
        directory: folder.join("spool"),
        min_free: 0,
        max_object: 8 << 30,
        completion: CompletionTimes { quiet: Duration::from_hours(1), cap: Duration::from_hours(2) },
        remember: Duration::from_hours(1),
    };
    let (intake, _owner) = Intake::start(config, IntakeMetrics::new(&Registry::new())?, Timestamp::now())?;
    let mut studies = std::collections::BTreeSet::new();
    intake.receive_path(path, FileOptions::default(), &mut |report| match report.result {
        Ok(receipt) => {
            studies.insert(receipt.study);
        }
        Err(refusal) => {
            // Standard error of a command that the user gave this very path to.
            let _ = writeln!(std::io::stderr(), "{}: {refusal}", report.path.display());
        }
    });
    if studies.is_empty() {
        return Err(Failure::usage(format!("{} holds nothing that can be read", path.display())));
    }
    let (announced, acquired) = bounded(1);
    let (_stop, stopped) = bounded(1);
    let publisher = Publisher {
        intake: intake.clone(),
        announce: Announced(announced),
        blobs: blobs.clone(),
        run: RunId::live(),
        backoff: Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(10) },
    };
    let _publisher = publisher.start(stopped)?;
    let mut messages = Vec::new();
    for study in &studies {
        intake.close_study(study)?;
        messages.push(acquired.recv_timeout(Duration::from_mins(1))?);
    }
    Ok(messages)
}

/// Announcements into a channel instead of a broker.
struct Announced(Sender<StudyAcquired>);

impl Announce for Announced {
    fn acquired(&mut self, message: &StudyAcquired, _: EventId) -> Result<(), AnnounceError> {
        self.0.send(message.clone()).map_err(|error| AnnounceError::Refused(error.into()))
    }

    fn identity(&mut self, _: &StudyUid, _: &Identity) -> Result<(), AnnounceError> {
        Ok(())
    }
}

/// Gate and keyframes ask no model; whoever does here is told so.
struct NoModel;

impl ModelBackend for NoModel {
    fn identity(&self) -> &schemas::ModelIdentity {
        unreachable!("inspect builds no stage that asks for a model")
    }

    fn generate(&self, _: &stage::ModelRequest) -> Result<stage::Generation, stage::BackendError> {
        Err(stage::BackendError::Broken("inspect runs without a model".into()))
    }
}

fn write_pictures(inspected: &Inspected, out: &Path, blobs: &ObjectBlobs) -> Result<(), Failure> {
    let clips = inspected.keyframes.iter().flat_map(|extracted| &extracted.clips);
    for clip in clips {
        // A digest, because a folder name made of an instance UID may be too long or too telling.
        let instance = schemas::Digest::of(clip.instance_uid.as_str().as_bytes()).to_string();
        let folder = out.join("frames").join(instance.get(..12).unwrap_or_default());
        fs::create_dir_all(&folder)?;
        for keyframe in &clip.keyframes {
            let name = format!("{:?}-{}.png", keyframe.kind, keyframe.frame.0);
            fs::write(folder.join(name), blobs.get(&keyframe.image)?)?;
        }
    }
    Ok(())
}

fn print(inspected: &Inspected, options: &Options) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", to_json(inspected))?;
        return Ok(());
    }
    writeln!(out, "study {}: {}", inspected.acquired.study.study_uid, word(inspected.verdict))?;
    for instance in &inspected.instances {
        let code = instance.code.as_ref().map_or_else(String::new, |code| format!(" {code}"));
        let verdict = if instance.applicable { word(instance.verdict) } else { "not applicable".to_owned() };
        writeln!(out, "  instance {}: {verdict}{code}", instance.instance_uid)?;
        for check in &instance.checks {
            let value = check.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
            let bound = format!("{:.3}", check.threshold);
            writeln!(
                out,
                "    {:<22} {value:>12} {:<10} bound {bound:>10}  {}",
                check.name,
                check.unit,
                word(check.verdict)
            )?;
            if let Some(advice) = &check.advice {
                writeln!(out, "      {} {}", advice.en, advice.zh)?;
            }
        }
    }
    for clip in inspected.keyframes.iter().flat_map(|extracted| &extracted.clips) {
        writeln!(out, "  keyframes of {}", clip.instance_uid)?;
        for keyframe in &clip.keyframes {
            let time = keyframe.time_ms.map_or_else(String::new, |ms| format!(" at {ms:.0} ms"));
            writeln!(
                out,
                "    beat {} {:?} frame {}{time}, {} (confidence {:.2})",
                keyframe.beat,
                keyframe.kind,
                keyframe.frame.0,
                word(keyframe.source),
                keyframe.confidence
            )?;
        }
        if let Some(geometry) = &clip.geometry {
            writeln!(out, "    geometric EF {:.1} % ({})", geometry.ef_percent, geometry.method)?;
        }
    }
    Ok(())
}

/// The shape that outside scripts rely on: flat lists, each entry naming its instance.
fn to_json(inspected: &Inspected) -> Value {
    let study = &inspected.acquired.study;
    let instances: Vec<Value> = inspected
        .instances
        .iter()
        .map(|one| {
            json!({
                "instance_uid": one.instance_uid, "view": one.view, "applicable": one.applicable, "verdict": one.verdict,
                "code": one.code, "timing": one.timing,
            })
        })
        .collect();
    let with_instance = |value: Value, uid: &schemas::InstanceUid| {
        let mut value = value;
        if let Value::Object(fields) = &mut value {
            fields.insert("instance_uid".to_owned(), json!(uid));
        }
        value
    };
    let checks: Vec<Value> = inspected
        .instances
        .iter()
        .flat_map(|one| one.checks.iter().map(|check| with_instance(json!(check), &one.instance_uid)))
        .collect();
    let clips = || inspected.keyframes.iter().flat_map(|extracted| &extracted.clips);
    let keyframes: Vec<Value> = clips()
        .flat_map(|clip| {
            clip.keyframes.iter().map(|keyframe| with_instance(json!(keyframe), &clip.instance_uid))
        })
        .collect();
    let geometry: Vec<Value> = clips()
        .filter_map(|clip| {
            clip.geometry.as_ref().map(|geometry| with_instance(json!(geometry), &clip.instance_uid))
        })
        .collect();
    json!({
        "study_uid": study.study_uid, "domain": study.domain, "synthetic": study.synthetic, "verdict": inspected.verdict,
        "instances": instances, "checks": checks, "keyframes": keyframes, "geometry": geometry,
    })
}
