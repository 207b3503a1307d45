//! Normalises a picture for the oracle: `normalise torchstain|matlab|plan IN.png OUT.png`.
//!
//! One JSON line says what was found. `torchstain` and `matlab` do what those do, without a guard; `plan` is what the
//! pipeline does. With `plan`, milliseconds of the estimate and of the application are the least of five runs.

#![expect(clippy::print_stdout, reason = "the line is the answer")]

use std::{env, error::Error, time::Instant};

use serde_json::{Value, json};
use stain::{Estimate, MAX_SAMPLE, Macenko, Plan, REFERENCE, Rounding, exact, sample};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [mode, input, output] = arguments.as_slice() else {
        return Err("normalise torchstain|matlab|plan IN.png OUT.png".into());
    };
    let picture = image::open(input)?.into_rgb8();
    let (width, height) = picture.dimensions();
    let rgb = picture.into_raw();
    let (pixels, _) = rgb.as_chunks::<3>();
    let (normalised, said) = match mode.as_str() {
        "torchstain" => compatible(Macenko::TORCHSTAIN, Rounding::Truncate, &rgb, pixels),
        "matlab" => compatible(Macenko::MATLAB, Rounding::Nearest, &rgb, pixels),
        "plan" => planned(&rgb),
        other => return Err(format!("unknown mode {other}").into()),
    };
    if let Some(normalised) = normalised {
        image::save_buffer(output, &normalised, width, height, image::ColorType::Rgb8)?;
    }
    println!("{said}");
    Ok(())
}

fn compatible(how: Macenko, rounding: Rounding, rgb: &[u8], pixels: &[[u8; 3]]) -> (Option<Vec<u8>>, Value) {
    match how.estimate(pixels) {
        Ok(found) => {
            let normalised = exact(rgb, &found.staining, &REFERENCE.staining, rounding);
            (Some(normalised), json!({ "estimate": estimate(&found) }))
        }
        Err(why) => (None, json!({ "refused": why.to_string() })),
    }
}

fn planned(rgb: &[u8]) -> (Option<Vec<u8>>, Value) {
    let mut best = [f64::INFINITY; 2];
    let mut last = None;
    for _ in 0..5 {
        let began = Instant::now();
        let plan = Plan::of(&sample(rgb, MAX_SAMPLE));
        let planned = began.elapsed().as_secs_f64() * 1e3;
        let began = Instant::now();
        let normalised = plan.normaliser(&REFERENCE).apply(rgb);
        best = [best[0].min(planned), best[1].min(began.elapsed().as_secs_f64() * 1e3)];
        last = Some((plan, normalised));
    }
    let Some((plan, normalised)) = last else { return (None, Value::Null) };
    let (found, why) = match &plan {
        Plan::Own(found) => (Some(estimate(found)), None),
        Plan::Reference(why) => (None, Some(why.to_string())),
        Plan::Unchanged { tissue } => (None, Some(format!("{:.1} % tissue", tissue * 100.0))),
    };
    // What exact arithmetic makes of the same staining, to see how far whole numbers are off.
    let off = plan.staining(&REFERENCE).map(|from| {
        let exact = exact(rgb, &from, &REFERENCE.staining, Rounding::Nearest);
        exact.iter().zip(&normalised).map(|(a, b)| a.abs_diff(*b)).max()
    });
    let said = json!({
        "estimate": found, "flag": plan.flag(), "why": why, "off_exact": off,
        "milliseconds": { "estimate": best[0], "apply": best[1] },
    });
    (Some(normalised), said)
}

fn estimate(found: &Estimate) -> Value {
    let stains = found.staining.stains;
    json!({
        "kept": found.kept, "eigenvalues": found.eigenvalues, "angles": found.angles,
        "haematoxylin": stains.haematoxylin, "eosin": stains.eosin, "strongest": found.staining.strongest,
        "refused": found.checked().err().map(|why| why.to_string()),
    })
}
