//! The architecture's numbers, from `config.json` and `generation_config.json`.
//!
//! Two layouts are read (transformers `configuration_glm4v.py`):
//!
//! ```text
//! transformers 4                               transformers 5
//! text_config.rope_theta                       text_config.rope_parameters.rope_theta
//! text_config.partial_rotary_factor            text_config.rope_parameters.partial_rotary_factor
//! text_config.rope_scaling.mrope_section       text_config.rope_parameters.mrope_section
//! text_config.tie_word_embeddings              tie_word_embeddings
//! ```
//!
//! Version 4 may also keep text fields in the root. What is parsed here is consistent: heads divide widths, rotary
//! sections fill the rotary half, token ids are inside the vocabulary. Defaults are those of transformers' classes.

use serde::Deserialize;
use serde_json::Value;

use crate::error::LoadError;
use crate::json_fields::Fields;

/// Largest width, vocabulary or patch count a damaged file may ask for; the real model stays far below.
const LARGEST_WIDTH: usize = 1 << 18;
const LARGEST_VOCABULARY: usize = 1 << 22;
const LARGEST_DEPTH: usize = 1024;
const LARGEST_CONTEXT: usize = 1 << 24;
const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";

/// Everything `config.json` says that the computation needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The language model.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Id of the placeholder that stands for one vision token, of images and of video frames.
    pub image_token_id: u32,
    /// Id of the placeholder that the chat template writes for a video.
    pub video_token_id: u32,
    /// Whether the output projection is the embedding table.
    pub tie_word_embeddings: bool,
    /// Ids that end an answer, by `generation_config.json`, else by `config.json`. Never empty.
    pub eos_token_ids: Vec<u32>,
    /// What the checkpoint says about itself.
    pub marks: ModelMarks,
}

/// The checkpoint's own statement about what it may be used for: the object `prescreen` of `config.json`. A
/// checkpoint without it is a trained one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMarks {
    /// The weights are random: no answer means anything.
    #[serde(default)]
    pub untrained: bool,
    /// Trained on phantoms: answers about patients mean nothing.
    #[serde(default)]
    pub synthetic_only: bool,
    /// How pictures that belong together were shown in its training.
    #[serde(default)]
    pub presentation: Presentation,
}

/// How a model wants to see end-diastole and end-systole of one heart beat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presentation {
    /// As two pictures.
    #[default]
    Stills,
    /// As one video of two frames, [`Video::pair`](crate::Video::pair).
    Beats,
}

/// Numbers of the language model.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP's gate.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Added to the variance in RMSNorm.
    pub rms_norm_eps: f64,
    /// Tokens of prompt and answer together.
    pub max_position_embeddings: usize,
    /// Position encoding.
    pub rope: TextRope,
}

/// Multimodal rotary encoding of the language model.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Leading dimensions of a head that rotate, in interleaved pairs; even.
    pub rotary_dim: usize,
    /// How many pairs take their position from time, height, width, in this order and then again from the start;
    /// sums to `rotary_dim / 2`.
    pub sections: Vec<usize>,
}

/// Numbers of the vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Transformer blocks.
    pub depth: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of one head; a multiple of 4.
    pub head_dim: usize,
    /// Inner width of the merger (not of the blocks, whose MLP is `out_hidden_size` wide).
    pub intermediate_size: usize,
    /// Width of a vision token; equals the text's `hidden_size`.
    pub out_hidden_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in one patch.
    pub temporal_patch_size: usize,
    /// Patches on a side of one vision token.
    pub spatial_merge_size: usize,
    /// Side of the learned table of positions.
    pub position_side: usize,
    /// Colour channels.
    pub channels: usize,
    /// Whether the fused query, key and value projection has a bias.
    pub attention_bias: bool,
    /// Added to the variance in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
}

impl VisionConfig {
    /// Values of one patch: channels × frames × side × side.
    pub fn patch_len(&self) -> usize {
        self.channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Patches of one vision token.
    pub fn patches_per_token(&self) -> usize {
        self.spatial_merge_size * self.spatial_merge_size
    }
}

/// A scalar or a list, as several fields of these files may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

impl ModelConfig {
    /// Reads `config.json` and, where the folder has one, `generation_config.json`.
    pub(crate) fn parse(config: &Value, generation: Option<&Value>) -> Result<Self, LoadError> {
        let root = Fields::root(CONFIG, config)?;
        let model_type: String = root.required("model_type")?;
        if !matches!(model_type.as_str(), "glm4v" | "glm46v") {
            return Err(root.value_error("model_type", model_type, "glm4v or glm46v"));
        }
        if root.has("quantization_config") {
            return Err(root.value_error("quantization_config", "present", "plain f32, f16 or bf16 weights"));
        }
        let text_fields = root.part_over_root("text_config")?;
        let text = TextConfig::parse(text_fields, root)?;
        let vision = VisionConfig::parse(root.part("vision_config")?, root)?;
        if vision.out_hidden_size != text.hidden_size {
            return Err(root.value_error(
                "vision_config.out_hidden_size",
                vision.out_hidden_size,
                format!("the text's hidden_size {}", text.hidden_size),
            ));
        }
        let token = |fields: Fields<'_>, field: &'static str| -> Result<u32, LoadError> {
            in_vocabulary(fields, field, fields.required::<u64>(field)?, text.vocab_size)
        };
        let image_token_id = token(root, "image_token_id")?;
        let video_token_id = token(root, "video_token_id")?;
        let tie_word_embeddings = root.optional("tie_word_embeddings")?.unwrap_or(false)
            || text_fields.optional("tie_word_embeddings")?.unwrap_or(false);
        Ok(Self {
            eos_token_ids: eos_token_ids(text_fields, generation, text.vocab_size)?,
            text,
            vision,
            image_token_id,
            video_token_id,
            tie_word_embeddings,
            marks: root.optional("prescreen")?.unwrap_or_default(),
        })
    }
}

impl TextConfig {
    fn parse(fields: Fields<'_>, root: Fields<'_>) -> Result<Self, LoadError> {
        let hidden_size = fields.count("hidden_size", LARGEST_WIDTH)?;
        let heads = fields.count("num_attention_heads", LARGEST_WIDTH)?;
        if !hidden_size.is_multiple_of(heads) {
            return Err(fields.value_error(
                "num_attention_heads",
                heads,
                format!("a divisor of hidden_size {hidden_size}"),
            ));
        }
        let head_dim = hidden_size / heads;
        if fields.count_or("head_dim", head_dim, LARGEST_WIDTH)? != head_dim {
            return Err(fields.value_error(
                "head_dim",
                fields.required::<u64>("head_dim")?,
                format!("hidden_size / num_attention_heads = {head_dim}"),
            ));
        }
        let kv_heads = fields.count_or("num_key_value_heads", heads, LARGEST_WIDTH)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(fields.value_error(
                "num_key_value_heads",
                kv_heads,
                format!("a divisor of num_attention_heads {heads}"),
            ));
        }
        expect_silu(fields)?;
        Ok(Self {
            vocab_size: fields.count("vocab_size", LARGEST_VOCABULARY)?,
            hidden_size,
            intermediate_size: fields.count("intermediate_size", LARGEST_WIDTH)?,
            layers: fields.count("num_hidden_layers", LARGEST_DEPTH)?,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: fields.positive_or("rms_norm_eps", 1e-5)?,
            max_position_embeddings: fields.count("max_position_embeddings", LARGEST_CONTEXT)?,
            rope: TextRope::parse(fields, root, head_dim)?,
        })
    }
}

impl TextRope {
    fn parse(fields: Fields<'_>, root: Fields<'_>, head_dim: usize) -> Result<Self, LoadError> {
        let nested = rope_part(fields, root, "text_config")?;
        let kind = match nested.optional::<String>("rope_type")? {
            Some(kind) => Some(kind),
            None => nested.optional("type")?,
        };
        // "mrope" is what some transformers 4 files call the default frequencies with sections.
        if let Some(kind) = kind.filter(|kind| !matches!(kind.as_str(), "default" | "mrope")) {
            return Err(nested.value_error("rope_type", kind, "default"));
        }
        let theta = nested.positive_or("rope_theta", fields.positive_or("rope_theta", 10_000.0)?)?;
        let factor =
            nested.positive_or("partial_rotary_factor", fields.positive_or("partial_rotary_factor", 1.0)?)?;
        let rotary_dim = (head_dim as f64 * factor) as usize;
        if factor > 1.0 || rotary_dim == 0 || !rotary_dim.is_multiple_of(2) {
            return Err(fields.value_error(
                "partial_rotary_factor",
                factor,
                format!("a share of head_dim {head_dim} that gives an even number of dimensions"),
            ));
        }
        let sections = nested.optional::<Vec<usize>>("mrope_section")?.unwrap_or_else(|| vec![8, 12, 12]);
        if sections.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)) != Some(rotary_dim / 2) {
            return Err(nested.value_error(
                "mrope_section",
                format!("{sections:?}"),
                format!("numbers that add up to {}", rotary_dim / 2),
            ));
        }
        Ok(Self { theta, rotary_dim, sections })
    }
}

impl VisionConfig {
    fn parse(fields: Fields<'_>, root: Fields<'_>) -> Result<Self, LoadError> {
        let hidden_size = fields.count("hidden_size", LARGEST_WIDTH)?;
        let heads = fields.count("num_heads", LARGEST_WIDTH)?;
        let head_dim = hidden_size / heads;
        if !hidden_size.is_multiple_of(heads) || head_dim == 0 || !head_dim.is_multiple_of(4) {
            return Err(fields.value_error(
                "num_heads",
                heads,
                format!("a divisor of hidden_size {hidden_size} that gives heads of a multiple of 4"),
            ));
        }
        expect_silu(fields)?;
        let patch_size = side(fields, "patch_size", 1024)?;
        let image_size = side(fields, "image_size", 1 << 16)?;
        if image_size < patch_size {
            return Err(fields.value_error("image_size", image_size, format!("at least {patch_size}")));
        }
        let channels = fields.count_or("in_channels", 3, LARGEST_WIDTH)?;
        if channels != 3 {
            return Err(fields.value_error("in_channels", channels, "3"));
        }
        let rope = rope_part(fields, root, "vision_config")?;
        if let Some(kind) = rope.optional::<String>("rope_type")?
            && !matches!(kind.as_str(), "axial" | "default")
        {
            return Err(rope.value_error("rope_type", kind, "axial"));
        }
        Ok(Self {
            depth: fields.count("depth", LARGEST_DEPTH)?,
            hidden_size,
            heads,
            head_dim,
            intermediate_size: fields.count("intermediate_size", LARGEST_WIDTH)?,
            out_hidden_size: fields.count("out_hidden_size", LARGEST_WIDTH)?,
            patch_size,
            temporal_patch_size: side(fields, "temporal_patch_size", 64)?,
            spatial_merge_size: fields.count_or("spatial_merge_size", 2, 64)?,
            position_side: image_size / patch_size,
            channels,
            attention_bias: fields.optional("attention_bias")?.unwrap_or(false),
            rms_norm_eps: fields.positive_or("rms_norm_eps", 1e-5)?,
            rope_theta: rope.positive_or("rope_theta", fields.positive_or("rope_theta", 10_000.0)?)?,
        })
    }
}

/// `rope_parameters` (version 5) or `rope_scaling` (version 4) of a part; version 4 may keep it in the root.
fn rope_part<'a>(fields: Fields<'a>, root: Fields<'a>, part: &str) -> Result<Fields<'a>, LoadError> {
    for key in ["rope_parameters", "rope_scaling"] {
        if fields.has_own(key) {
            return fields.part(key);
        }
        if part == "text_config" && root.has_own(key) {
            return root.part(key);
        }
    }
    fields.part("rope_parameters")
}

/// An integer, or a list of equal integers.
fn side(fields: Fields<'_>, field: &'static str, largest: usize) -> Result<usize, LoadError> {
    let sides = fields.required::<OneOrMany<u64>>(field)?.into_vec();
    match sides.as_slice() {
        [first, rest @ ..] if rest.iter().all(|s| s == first) && (1..=largest as u64).contains(first) => {
            Ok(*first as usize)
        }
        _ => Err(fields.value_error(field, format!("{sides:?}"), format!("one number of 1 to {largest}"))),
    }
}

fn expect_silu(fields: Fields<'_>) -> Result<(), LoadError> {
    match fields.optional::<String>("hidden_act")? {
        Some(act) if act != "silu" => Err(fields.value_error("hidden_act", act, "silu")),
        _ => Ok(()),
    }
}

fn in_vocabulary(fields: Fields<'_>, field: &str, id: u64, vocab_size: usize) -> Result<u32, LoadError> {
    match u32::try_from(id) {
        Ok(small) if id < vocab_size as u64 => Ok(small),
        _ => Err(fields.value_error(field, id, format!("an id below vocab_size {vocab_size}"))),
    }
}

/// `generation_config.json` decides, as in transformers; `config.json` where it says nothing.
fn eos_token_ids(
    text: Fields<'_>,
    generation: Option<&Value>,
    vocab_size: usize,
) -> Result<Vec<u32>, LoadError> {
    let field = "eos_token_id";
    let generation = generation.map(|value| Fields::root(GENERATION_CONFIG, value)).transpose()?;
    let fields = generation.filter(|fields| fields.has(field)).unwrap_or(text);
    let ids = fields.required::<OneOrMany<u64>>(field)?.into_vec();
    if ids.is_empty() {
        return Err(fields.value_error(field, "[]", "at least one id"));
    }
    ids.into_iter().map(|id| in_vocabulary(fields, field, id, vocab_size)).collect()
}
