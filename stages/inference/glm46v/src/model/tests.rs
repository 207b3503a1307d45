//! Half precision on the CPU, where nobody would use it: the same code that a card runs, up to its kernels.

use std::path::Path;

use image::RgbImage;

use super::*;
use crate::checkpoint::{Checkpoint, Plan};
use crate::numerics::{DeviceKind, Numerics, Precision, WeightFormat};
use crate::processor::{Processor, Prompt};
use crate::scheduler::BlockId;
use crate::{Message, Part, Role, Thinking};

fn checkpoint() -> Checkpoint {
    Checkpoint::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/untrained")).unwrap()
}

/// Scores after a prompt with a picture, in two chunks and then one token more; and the types on the way.
fn scores(plan: Plan) -> Vec<Vec<f32>> {
    let checkpoint = checkpoint();
    let device = Device::Cpu;
    let loader = Loader::new(&checkpoint, &device, plan).unwrap();
    let model = Model::load(&checkpoint.config, &loader, &device).unwrap();
    let store = model.store(8).unwrap();
    assert_eq!(store.layer(0).unwrap().k.dtype(), plan.numerics.compute.dtype());

    let picture = RgbImage::from_fn(84, 70, |x, y| image::Rgb([(3 * x) as u8, (5 * y) as u8, (x * y) as u8]));
    let content = vec![Part::Image(picture), Part::Text("Which view, and how good?".to_owned())];
    let prompt = Prompt { messages: vec![Message { role: Role::User, content }], thinking: Thinking::Off };
    let prepared = Processor::new(&checkpoint).unwrap().prepare(&prompt, 4).unwrap();
    let pictures: Vec<Option<Tensor>> =
        model.look(&prepared.pixel_values, &prepared.grids).unwrap().into_iter().map(Some).collect();
    let blocks: Vec<BlockId> = (0..8).map(BlockId).collect();
    let tokens = prepared.input_ids.len();
    let run = |past: usize, rows: usize, generated: &[u32]| {
        let sequence = Sequence { prompt: &prepared, generated, pictures: &pictures };
        let work = Work { sequence, span: Span { past, rows, blocks: &blocks }, samples: true };
        model.step(&[work], Products::Whole, &store).unwrap().remove(0)
    };
    vec![run(0, tokens - 9, &[]), run(tokens - 9, 9, &[]), run(tokens, 1, &[17])]
}

fn apart(found: &[f32], wanted: &[f32]) -> f32 {
    let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    let difference: Vec<f32> = found.iter().zip(wanted).map(|(a, b)| a - b).collect();
    length(&difference) / length(wanted)
}

#[test]
fn half_precision_gives_the_scores_of_f32_within_its_rounding() {
    use Precision::{Bf16, F16, F32};
    let device = DeviceKind::Cpu;
    let plan = |compute, residual, format| Plan { format, numerics: Numerics { compute, residual }, device };
    let wanted = scores(plan(F32, F32, WeightFormat::Float));
    // 11 and 8 bits of mantissa; bf16 also rounds the sum that every layer adds to. Measured: 0.2 % and 3 %, with 8 bits a
    // weight 5 % and 7 %.
    for (compute, residual, format, at_most) in [
        (F16, F32, WeightFormat::Float, 0.005),
        (Bf16, Bf16, WeightFormat::Float, 0.06),
        (F16, F32, WeightFormat::Q8_0, 0.09),
        (Bf16, Bf16, WeightFormat::Q8_0, 0.12),
    ] {
        let found = scores(plan(compute, residual, format));
        for (step, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let apart = apart(found, wanted);
            assert!(apart > 0.0 && apart < at_most, "{compute}, {format}, step {step}: {apart}");
        }
    }
}
