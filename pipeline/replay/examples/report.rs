//! Writes reports of made-up studies to a folder, to be looked at: `report FOLDER`.
//!
//! `pass`, `regression`, `inconclusive`, each as HTML (both languages), JSON and JUnit.

use std::{collections::BTreeMap, fs, path::Path};

use replay::{
    diff::{Comparison, compare},
    margins,
    report::{
        Facts, Pin,
        html::{self, Language, Limits},
        junit::to_junit,
    },
    result::Arm,
};
use schemas::{Bilingual, Digest, Quality, RunId};

#[expect(clippy::unwrap_used, reason = "made-up studies are sound, or their tests have failed")]
#[path = "../tests/diff/world.rs"]
mod world;

fn pin(name: &str, baseline: &str, candidate: &str) -> Pin {
    Pin { name: name.to_owned(), baseline: baseline.to_owned(), candidate: candidate.to_owned() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("report FOLDER")?;
    fs::create_dir_all(&folder)?;
    let studies = world::studies(100, 20);
    let mut candidate = studies.clone();
    for study in &mut candidate {
        study.blurred_below = 0.42;
        study.ef += if study.number % 4 == 0 { 7.0 } else { 3.0 };
        study.seconds *= 1.1 + f64::from(study.number % 7) / 30.0;
        study.generated_tokens += 12;
        study.abstains = study.number % 33 == 5;
        study.ed += u32::from(study.number % 20 == 3);
        study.quality = if study.number % 25 == 1 { Quality::Poor } else { study.quality };
        study.remark = Bilingual::new("No further feature is named by the model.", "模型未提示其他特征。");
    }
    let few: Vec<world::Study> = studies.iter().take(10).cloned().collect();
    for (name, baseline, candidate) in
        [("pass", &studies, &studies), ("regression", &studies, &candidate), ("inconclusive", &few, &few)]
    {
        let pins = vec![
            pin("model", "phantom-7f3a", "phantom-7f3a"),
            pin(
                "prompt",
                "echo-3 (8f0c11d2)",
                if name == "regression" { "echo-4 (51be90aa)" } else { "echo-3 (8f0c11d2)" },
            ),
            pin(
                "stages.quality_gate.blur.reject",
                "0.30",
                if name == "regression" { "0.42" } else { "0.30" },
            ),
            pin("code revision", "a759f25", "a759f25"),
        ];
        let report = compare(&Comparison {
            run: RunId::new(&format!("example-{name}"))?,
            baseline: world::rows(baseline, Arm::Baseline),
            candidate: world::rows(candidate, Arm::Candidate),
            noise: Some(world::live(baseline)),
            margins: toml::from_str(margins::STANDARD)?,
            seed: 1,
            truth: baseline.iter().map(|study| (world::uid(study.number), study.truth)).collect(),
            facts: Facts {
                plan_sha256: Some(Digest::of(name.as_bytes())),
                start_stage: "quality_gate".to_owned(),
                inputs: baseline.len() as u64,
                lost_inputs: 0,
                pins,
            },
        })?;
        let mut pictures: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        for study in baseline.iter().chain(candidate) {
            for png in [study.ed, world::SYSTOLE].map(|frame| world::png(study.number, frame)) {
                pictures.insert(Digest::of(&png), png);
            }
        }
        let page = html::page(&report, &mut pictures, Language::Both, Limits::PAGE)?;
        let file = |ending: &str| Path::new(&folder).join(format!("{name}.{ending}"));
        fs::write(file("html"), page)?;
        fs::write(file("json"), report.to_json()?)?;
        fs::write(file("xml"), to_junit(&report))?;
    }
    Ok(())
}
