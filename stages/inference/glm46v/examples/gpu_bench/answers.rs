//! Answers to the cases of a folder of fixtures, with the scores of every step.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use glm46v::{Capture, Checkpoint, Engine, EngineOptions, GenerateOptions, RepetitionStop, Request};

use crate::{Failure, print};

#[expect(dead_code, reason = "the tests read more of a case")]
#[expect(clippy::unwrap_used, reason = "a folder that is not as the script wrote it ends the run")]
#[path = "../../tests/library/case.rs"]
mod case;

pub(crate) fn run(device: &str, folder: &Path, out: &Path) -> Result<(), Failure> {
    for (name, cases) in case::cases(folder) {
        let options = EngineOptions { device: device.parse()?, ..EngineOptions::default() };
        let engine = Engine::start(Checkpoint::open(folder.join(&name))?, options)?;
        for case in cases {
            let options = GenerateOptions {
                max_new_tokens: case.tensors.shape("greedy_ids").iter().product(),
                repetition: RepetitionStop::Off,
                capture: Capture::Logits,
                ..GenerateOptions::default()
            };
            let answer = engine.handle().generate(&Request::new(case.prompt, options))?;
            let captured = answer.captured.ok_or("the scores were not kept")?;
            let steps = captured.step_logits.len();
            let scores = Tensor::from_vec(captured.step_logits.concat(), (steps, ()), &Device::Cpu)?;
            let tensors = BTreeMap::from([
                ("input_ids", Tensor::new(captured.input_ids, &Device::Cpu)?),
                ("ids", Tensor::new(answer.token_ids, &Device::Cpu)?),
                ("logits", scores),
            ]);
            safetensors::serialize_to_file(&tensors, None, &out.join(format!("{}.safetensors", case.name)))?;
            print(&serde_json::json!({ "case": case.name, "steps": steps }));
        }
    }
    Ok(())
}
