//! What `inspect` prints: text for people, JSON for scripts.

use std::io::Write as _;

use serde_json::{Value, json};

use super::Inspected;
use crate::{cli::Options, exit::Failure, word::word};

pub(super) fn print(inspected: &Inspected, options: &Options) -> Result<(), Failure> {
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
