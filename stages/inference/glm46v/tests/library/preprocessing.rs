//! Sizes, pixels, frames and positions equal those of Pillow and transformers, and keep their promises on any input.

use crate::case::Tensors;
use crate::support::fixtures;
use glm46v::{
    Grid, Normalize, PictureConfig, ResizeTask, Run, VideoConfig, VideoGeneration, positions, resize_bicubic,
    sample_frames, smart_resize,
};
use proptest::prelude::*;
use serde_json::Value;

fn tables() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("tables.json")).unwrap()).unwrap()
}

#[test]
fn resampler_equals_pillow_bit_for_bit() {
    let tensors = Tensors::open(&fixtures().join("resample.safetensors"));
    let pairs = tensors.names().len() / 2;
    assert!(pairs >= 9);
    for i in 0..pairs {
        let source = tensors.pictures(&format!("{i}.in")).remove(0);
        let wanted = tensors.pictures(&format!("{i}.out")).remove(0);
        let resized = resize_bicubic(&source, wanted.width(), wanted.height());
        assert_eq!(
            resized.as_raw(),
            wanted.as_raw(),
            "{:?} to {:?}",
            source.dimensions(),
            wanted.dimensions()
        );
    }
}

#[test]
fn smart_resize_equals_transformers() {
    let tables = tables();
    let rows = tables["smart_resize"].as_array().unwrap();
    assert!(rows.len() > 500);
    for row in rows {
        let number = |i: usize| row[i].as_u64().unwrap();
        let task = ResizeTask {
            frames: number(0) as usize,
            height: number(1) as u32,
            width: number(2) as u32,
            temporal_factor: 2,
            factor: 28,
            min_pixels: number(3),
            max_pixels: number(4),
        };
        let wanted = row[5]
            .as_array()
            .map(|size| (size[0].as_u64().unwrap() as u32, size[1].as_u64().unwrap() as u32));
        assert_eq!(smart_resize(&task), wanted, "{task:?}");
    }
}

#[test]
fn frames_of_a_clip_equal_transformers() {
    let tables = tables();
    for row in tables["sampling"].as_array().unwrap() {
        let config = video_config(match row[0].as_str().unwrap() {
            "glm46v" => VideoGeneration::Glm46v,
            _ => VideoGeneration::Glm41v,
        });
        let wanted: Vec<usize> =
            row[3].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect();
        let (frames, fps) = (row[1].as_u64().unwrap() as usize, row[2].as_f64().unwrap());
        assert_eq!(sample_frames(&config, 2, frames, fps), wanted, "{row}");
    }
}

fn video_config(generation: VideoGeneration) -> VideoConfig {
    VideoConfig {
        picture: PictureConfig {
            min_pixels: 12_544,
            max_pixels: 1 << 24,
            rescale: Some(1.0 / 255.0),
            normalize: Some(Normalize { mean: [0.5; 3], std: [0.5; 3] }),
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
        },
        generation,
        fps: 2.0,
        max_duration: 300.0,
    }
}

proptest! {
    #[test]
    fn resized_sides_are_multiples_inside_the_budget(
        height in 1u32..6000, width in 1u32..6000, frames in 2usize..20, min_tokens in 1u64..64, extra in 64u64..4096,
    ) {
        let token = 2 * 28 * 28;
        let task = ResizeTask {
            frames, height, width, temporal_factor: 2, factor: 28,
            min_pixels: min_tokens * token, max_pixels: (min_tokens + extra) * token,
        };
        if let Some((h, w)) = smart_resize(&task) {
            prop_assert!(h >= 28 && w >= 28 && h % 28 == 0 && w % 28 == 0);
            // A side of one token cannot shrink, and a frame count is rounded: only then may the budget be exceeded.
            let rounded = (frames as f64 / 2.0).round_ties_even() * 2.0;
            let pixels = rounded * f64::from(h) * f64::from(w);
            let slack = if h == 28 || w == 28 { f64::INFINITY } else { rounded / frames as f64 };
            prop_assert!(pixels <= task.max_pixels as f64 * slack.max(1.0), "{h}x{w}");
        } else {
            prop_assert!(f64::from(height.max(width)) / f64::from(height.min(width)) > 100.0);
        }
    }

    #[test]
    fn positions_never_go_back_and_text_has_equal_axes(
        runs in prop::collection::vec(prop_oneof![
            (1usize..20).prop_map(Run::Text),
            (1usize..9, 1usize..9).prop_map(|(h, w)| Run::Picture(Grid { height: 2 * h, width: 2 * w })),
        ], 0..12),
    ) {
        let (positions, next) = positions(&runs, 2);
        let mut start = 0;
        let mut floor = 0;
        for run in &runs {
            let tokens = match run { Run::Text(n) => *n, Run::Picture(g) => g.patches() / 4 };
            let part = &positions[start..start + tokens];
            for position in part {
                prop_assert!(position.iter().all(|p| *p >= floor && *p < next));
                if let Run::Text(_) = run {
                    prop_assert!(position[0] == position[1] && position[1] == position[2]);
                }
            }
            if let Run::Picture(_) = run {
                prop_assert!(part.iter().all(|p| p[0] == floor));
            }
            floor = part.iter().flatten().max().unwrap() + 1;
            start += tokens;
        }
        prop_assert_eq!(start, positions.len());
        prop_assert_eq!(floor, next);
    }

    #[test]
    fn sampled_frames_are_even_in_number_ordered_and_there(
        frames in 0usize..3000, fps in 0.05f64..240.0, old in any::<bool>(),
    ) {
        let generation = if old { VideoGeneration::Glm41v } else { VideoGeneration::Glm46v };
        let chosen = sample_frames(&video_config(generation), 2, frames, fps);
        prop_assert!(chosen.len().is_multiple_of(2));
        prop_assert!(chosen.is_sorted());
        prop_assert!(chosen.iter().all(|i| *i < frames));
    }
}
