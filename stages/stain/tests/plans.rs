//! What becomes of pictures, by the plan the pipeline makes for them.

use proptest::prelude::*;
use stain::{
    Concentrations, Degenerate, MAX_SAMPLE, Macenko, Plan, REFERENCE, Rounding, Staining, Stains, exact,
    sample,
};

const RUIFROK: Stains = Stains { haematoxylin: [0.65, 0.70, 0.29], eosin: [0.07, 0.99, 0.11] };

/// A number from 0 to 1 for each index, the same on every machine.
fn noise(seed: usize) -> f64 {
    let z = (seed as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

/// Glass seen through `concentrations` of the stains, with a grey level of noise.
fn picture(side: usize, stains: Stains, concentrations: impl Fn(usize, usize) -> [f64; 2]) -> Vec<u8> {
    let pixel = |i: usize| {
        let [h, e] = concentrations(i % side, i / side);
        [0, 1, 2].map(|k| {
            let density = stains.haematoxylin[k] * h + stains.eosin[k] * e;
            (240.0 * (-density).exp() + 2.0 * noise(3 * i + k) - 1.0).round().clamp(0.0, 255.0) as u8
        })
    };
    (0..side * side).flat_map(pixel).collect()
}

/// Eosin ground of uneven strength with round nuclei, over `share` of the width.
fn tissue(share: f64, strength: f64) -> Vec<u8> {
    picture(256, RUIFROK, |x, y| {
        if x as f64 >= share * 256.0 {
            return [0.0, 0.0];
        }
        let nucleus = (x % 20).abs_diff(10).pow(2) + (y % 20).abs_diff(10).pow(2) < 36;
        let ground = 0.25 + 0.6 * noise(x / 7 * 1000 + y / 9);
        let [h, e] = if nucleus { [1.2 + 0.3 * noise(x + 256 * y), 0.5 * ground] } else { [0.06, ground] };
        [h * strength, e * strength]
    })
}

fn plan(rgb: &[u8]) -> Plan {
    Plan::of(&sample(rgb, MAX_SAMPLE))
}

fn flag(rgb: &[u8]) -> Option<String> {
    plan(rgb).flag().map(|code| code.as_str().to_owned())
}

fn degrees(a: [f64; 3], b: [f64; 3]) -> f64 {
    Stains { haematoxylin: a, eosin: b }.angle_degrees()
}

#[test]
fn stains_are_found_on_full_sparse_and_pale_tissue() {
    for (share, strength) in [(1.0, 1.0), (0.10, 1.0), (0.9, 0.5), (1.0, 1.5)] {
        let rgb = tissue(share, strength);
        let Plan::Own(found) = plan(&rgb) else { panic!("tissue {share}, {strength}: {:?}", plan(&rgb)) };
        let stains = found.staining.stains;
        let errors =
            [degrees(stains.haematoxylin, RUIFROK.haematoxylin), degrees(stains.eosin, RUIFROK.eosin)];
        assert!(
            errors[0] < 6.0 && errors[1] < 6.0,
            "{errors:?} degrees at tissue {share}, strength {strength}"
        );
    }
}

#[test]
fn the_mean_rule_sees_pale_eosin_where_the_original_does_not() {
    let rgb = tissue(1.0, 0.5);
    let (pixels, _) = rgb.as_chunks::<3>();
    let error = |how: Macenko| {
        degrees(how.estimate(pixels).expect("two stains").staining.stains.eosin, RUIFROK.eosin)
    };
    assert!(error(Macenko::ROBUST) + 3.0 < error(Macenko::TORCHSTAIN));
}

#[test]
fn two_laboratories_look_alike_afterwards() {
    let normalised = [(1.0, 0.7), (1.0, 1.3)].map(|(share, strength)| {
        let rgb = tissue(share, strength);
        plan(&rgb).normaliser(&REFERENCE).apply(&rgb)
    });
    let difference = |a: &[u8], b: &[u8]| {
        a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
    };
    let before = difference(&tissue(1.0, 0.7), &tissue(1.0, 1.3));
    let after = difference(&normalised[0], &normalised[1]);
    assert!(after * 5.0 < before, "mean difference {before:.1} before, {after:.1} after");
}

#[test]
fn blank_glass_passes_unchanged_with_and_without_noise() {
    let clean = vec![243; 3 * 128 * 128];
    let noisy: Vec<u8> =
        (0..3 * 128 * 128).map(|i| (243.0 + 12.0 * (noise(i) - 0.5)).round() as u8).collect();
    for rgb in [clean, noisy, tissue(0.04, 1.0), Vec::new()] {
        assert_eq!(flag(&rgb).as_deref(), Some("BLANK"));
        assert_eq!(plan(&rgb).normaliser(&REFERENCE).apply(&rgb), rgb);
    }
}

#[test]
fn a_single_stain_and_black_fall_back_to_the_reference_and_stay_what_they_were() {
    let haematoxylin = picture(128, RUIFROK, |x, y| [0.3 + noise(x + 128 * y), 0.0]);
    let eosin = picture(128, RUIFROK, |x, y| [0.0, 0.3 + noise(x + 128 * y)]);
    let black = vec![0; 3 * 128 * 128];
    for (name, rgb) in [("haematoxylin", haematoxylin), ("eosin", eosin), ("black", black)] {
        let plan = plan(&rgb);
        assert!(matches!(plan, Plan::Reference(_)), "{name}: {plan:?}");
        assert_eq!(flag(&rgb).as_deref(), Some("STAIN_FALLBACK"));
        let out = plan.normaliser(&REFERENCE).apply(&rgb);
        let mean = |rgb: &[u8]| rgb.iter().map(|level| f64::from(*level)).sum::<f64>() / rgb.len() as f64;
        assert!((mean(&rgb) - mean(&out)).abs() < 25.0, "{name}: mean {} became {}", mean(&rgb), mean(&out));
    }
}

#[test]
fn the_reason_of_a_fallback_names_what_was_measured() {
    let eosin = picture(128, RUIFROK, |x, y| [0.0, 0.3 + noise(x + 128 * y)]);
    let Plan::Reference(Degenerate::SingleStain { ratio }) = plan(&eosin) else { panic!("one stain") };
    assert!(ratio < 0.01);
    let few = tissue(1.0, 1.0);
    let why = Macenko::ROBUST.estimate(&few.as_chunks::<3>().0[..900]).and_then(|found| found.checked());
    assert!(matches!(why, Err(Degenerate::FewStained { needed: 1000, .. })), "{why:?}");
}

#[test]
fn concentrations_are_those_the_picture_was_made_from() {
    let unmix = Concentrations::by(&RUIFROK);
    for (h, e) in [(0.0, 0.0), (1.3, 0.2), (0.1, 0.9)] {
        let rgb = picture(8, RUIFROK, |_, _| [h, e]);
        let [found_h, found_e] = unmix.of([rgb[0], rgb[1], rgb[2]]);
        let errors = [(f64::from(found_h) - h).abs(), (f64::from(found_e) - e).abs()];
        assert!(errors.iter().all(|error| *error < 0.04), "{errors:?} at {h}, {e}");
    }
}

#[test]
fn a_sample_is_bounded_repeatable_and_even() {
    let rgb: Vec<u8> = (0..600 * 600).flat_map(|i| [(i * 256 / (600 * 600)) as u8; 3]).collect();
    let drawn = sample(&rgb, 10_000);
    assert_eq!((drawn.len(), &drawn), (10_000, &sample(&rgb, 10_000)));
    assert_eq!(sample(&rgb, 360_000), rgb.as_chunks::<3>().0, "a small picture is taken whole");
    let dark = drawn.iter().filter(|pixel| pixel[0] < 128).count();
    assert!(dark.abs_diff(5000) < 10, "{dark} of 10,000 from the upper half");
}

#[test]
fn other_dyes_are_told_from_haematoxylin_and_eosin() {
    let diaminobenzidine = Stains { eosin: [0.27, 0.57, 0.78], ..RUIFROK };
    assert!(RUIFROK.off_green() < 1.0 && REFERENCE.staining.stains.off_green() < 1.0);
    assert!(diaminobenzidine.off_green() > 1.3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No picture breaks the plan, and whole numbers stay beside exact arithmetic.
    #[test]
    fn any_picture_is_normalised_to_within_a_level_of_exact_arithmetic(
        base in prop::array::uniform3(0..=255_u8),
        spread in 1..=255_u16,
        length in 0..3000_usize,
        seed in 0..1000_usize,
    ) {
        let byte = |i: usize| {
            let offset = noise(seed * 10_000 + i) * f64::from(spread);
            (f64::from(base[i % 3]) + offset).clamp(0.0, 255.0) as u8
        };
        let rgb: Vec<u8> = (0..length).map(byte).collect();
        let plan = plan(&rgb);
        let out = plan.normaliser(&REFERENCE).apply(&rgb);
        prop_assert_eq!(out.len(), rgb.len());
        let whole = rgb.len() / 3 * 3;
        if let Some(from) = plan.staining(&REFERENCE) {
            let Staining { stains, strongest } = from;
            prop_assert!(stains.haematoxylin.iter().chain(&stains.eosin).chain(&strongest).all(|v| v.is_finite()));
            let exact = exact(&rgb, &from, &REFERENCE.staining, Rounding::Nearest);
            let off = exact.iter().zip(&out).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            prop_assert!(off <= 1, "{off} levels off");
        } else {
            prop_assert_eq!(&out[..whole], &rgb[..whole]);
        }
    }
}
