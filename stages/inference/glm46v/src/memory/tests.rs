//! The budget of the published 9B shape, whose sizes are known.

use serde_json::json;

use super::*;
use crate::numerics::Numerics;

/// GLM-4.6V-Flash.
fn nine_billion() -> ModelConfig {
    let config = json!({
        "model_type": "glm4v", "tie_word_embeddings": false,
        "image_token_id": 151_363, "video_token_id": 151_364, "eos_token_id": [151_329, 151_336, 151_338],
        "text_config": {
            "hidden_size": 4096, "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 2,
            "head_dim": 128, "intermediate_size": 13_696, "vocab_size": 151_552, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 131_072, "hidden_act": "silu",
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 500_000.0, "partial_rotary_factor": 0.5,
                "mrope_section": [8, 12, 12]
            },
        },
        "vision_config": {
            "depth": 24, "hidden_size": 1536, "num_heads": 12, "intermediate_size": 13_696, "out_hidden_size": 4096,
            "image_size": 336, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "in_channels": 3,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "attention_bias": false,
        },
    });
    ModelConfig::parse(&config, None).unwrap()
}

struct Setting {
    format: WeightFormat,
    device: DeviceKind,
    kv_bytes: u64,
}

const H200: DeviceKind = DeviceKind::Cuda { compute_capability: (9, 0) };
const T4: DeviceKind = DeviceKind::Cuda { compute_capability: (7, 5) };

fn plan(format: WeightFormat, device: DeviceKind) -> Plan {
    Plan { format, numerics: Numerics::of(device, None).unwrap(), device }
}

fn with<T>(setting: &Setting, ask: impl FnOnce(Demand<'_>) -> T) -> T {
    let config = nine_billion();
    let manifest = Manifest::of(&config);
    ask(Demand {
        config: &config,
        manifest: &manifest,
        stored: &|_| DType::BF16,
        plan: plan(setting.format, setting.device),
        kv_bytes: setting.kv_bytes,
        vision_cache_bytes: 64 << 20,
        step_rows: 2048,
        scored_rows: 64,
        pass_patches: 8192,
        picture_patches: 8192,
    })
}

fn weights(format: WeightFormat, device: DeviceKind) -> u64 {
    with(&Setting { format, device, kv_bytes: 1 << 30 }, |demand| demand.need()).weights
}

#[test]
fn weights_of_the_9b_shape() {
    let bf16 = weights(WeightFormat::Float, H200);
    // 10.29 billion parameters.
    assert!((20_550_000_000..20_620_000_000).contains(&bf16), "{bf16}");
    let q8_0 = weights(WeightFormat::Q8_0, H200);
    let share = q8_0 as f64 / bf16 as f64;
    assert!((0.53..0.55).contains(&share), "{share}");
    let q4k = weights(WeightFormat::Q4K, H200);
    assert!((7_500_000_000..7_900_000_000).contains(&q4k), "{q4k}");
    // f32 on the CPU, but for the table of embeddings, which stays as it is stored.
    let f32 = weights(WeightFormat::Float, DeviceKind::Cpu);
    assert_eq!(f32, 2 * bf16 - 2 * 151_552 * 4096);
}

#[test]
fn text_matrices_and_head_take_less_than_55_percent_of_bf16() {
    let config = nine_billion();
    let plan = plan(WeightFormat::Q8_0, H200);
    let manifest = Manifest::of(&config);
    let linear = || manifest.entries().filter(|(_, entry)| entry.role == Role::TextLinear);
    let held: u64 = linear().map(|(_, entry)| plan.held(entry, DType::BF16).bytes(entry)).sum();
    let bf16: u64 = linear().map(|(_, entry)| 2 * entry.elements() as u64).sum();
    assert!((8_770_000_000..8_790_000_000).contains(&(bf16 / 2)), "{bf16}");
    assert!(held as f64 / (bf16 as f64) < 0.55);
}

#[test]
fn every_part_is_counted_and_the_text_says_so() {
    let need = with(&Setting { format: WeightFormat::Q8_0, device: T4, kv_bytes: 2_000_000_000 }, |demand| {
        demand.need()
    });
    let parts = need.weights
        + need.keys_and_values
        + need.vision_cache
        + need.vision_pass.max(need.step)
        + need.fixed;
    assert_eq!(need.total(), parts);
    let text = need.to_string();
    assert!(
        text.starts_with("needs 1") && text.contains("weights 10.9 GB, keys and values 2.0 GB"),
        "{text}"
    );
    // 8192 patches of one picture: 12 heads × 512 queries × 8192 keys of scores in several copies is most of it.
    assert!((1_000_000_000..2_500_000_000).contains(&need.vision_pass), "{}", need.vision_pass);
    // However long a sequence the store could hold, a block of its scores stays below 2.2 GB.
    assert!((1_000_000_000..3_500_000_000).contains(&need.step), "{}", need.step);
}

#[test]
fn what_would_fit_is_named() {
    let setting = Setting { format: WeightFormat::Float, device: T4, kv_bytes: 1 << 30 };
    let fits = with(&setting, |demand| demand.would_fit(15_700_000_000));
    let formats: Vec<WeightFormat> = fits.formats.iter().map(|(format, _)| *format).collect();
    assert_eq!((formats, fits.kv_bytes), (vec![WeightFormat::Q8_0, WeightFormat::Q4K], None));
    assert!(fits.to_string().starts_with("weights q8_0 need 1"), "{fits}");
    let setting = Setting { format: WeightFormat::Q4K, device: T4, kv_bytes: 40 << 30 };
    let fits = with(&setting, |demand| demand.would_fit(15_700_000_000));
    let bytes = fits.kv_bytes.unwrap();
    let again = Setting { kv_bytes: bytes, ..setting };
    // A smaller store also makes the longest sequence shorter, so the promise holds.
    assert!(with(&again, |demand| demand.need()).total() <= 15_700_000_000, "{fits}");
    let none = with(&setting, |demand| demand.would_fit(1_000_000_000));
    assert_eq!(none, WouldFit { formats: vec![], kv_bytes: None });
    assert!(none.to_string().contains("more memory"));
}
