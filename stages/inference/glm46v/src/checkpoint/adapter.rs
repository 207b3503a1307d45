//! A PEFT LoRA adapter, merged into the weights while they are loaded: W + s·B·A.
//!
//! ```text
//! adapter_config.json ────────▶ rank and scale of each module; every field accounted for
//! adapter_model.safetensors ──▶ A [rank, in], B [out, rank] of each module; every tensor accounted for
//!                                    │
//! Weights::read ─ amend: in f32 W + s·B·A, then the type the plan asks for, or quantised
//! ```
//!
//! s = `lora_alpha` / r, or `lora_alpha` / √r with `use_rslora`; `rank_pattern` and `alpha_pattern` give modules their own.
//! Fused matrices (`mlp.gate_up_proj`, `visual.blocks.N.attn.qkv`) are adapted as the one matrix that they are here too.
//! Whatever else PEFT can do (DoRA, biases, whole modules, embeddings, convolutions, initialisations that change the base
//! weights) is refused by name. Source: PEFT 0.21 `tuners/lora`; equal to its `merge_and_unload`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};

use super::digest::ModelDigest;
use super::manifest::{Manifest, Role};
use super::weights::Amend;
use crate::error::{LoadError, Names};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// Fields that say how the adapter was trained or what it was trained on, and nothing about how it is merged. Which modules
/// it has, the tensors themselves show.
const OF_TRAINING: [&str; 11] = [
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
];

/// Why an adapter cannot be merged into a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A file is missing.
    #[error("it has no {wanted}; save it with peft's save_pretrained")]
    FileMissing {
        /// The file.
        wanted: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// adapter_config.json is not a JSON object.
    #[error("adapter_config.json is no JSON object")]
    Json {
        /// Where and why, if it is not JSON at all.
        source: Option<serde_json::Error>,
    },
    /// A field has a value that is not merged here.
    #[error("adapter_config.json: {field} is {value}; expected {expected}")]
    Field {
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// adapter_model.safetensors is damaged.
    #[error("adapter_model.safetensors cannot be read; copy it again")]
    Tensors {
        /// Where and why.
        source: candle_core::Error,
    },
    /// Tensors that belong to no matrix of the model.
    #[error("the model has no matrix for {names}; is the adapter of this checkpoint?")]
    UnknownTensors {
        /// Their names.
        names: Names,
    },
    /// Modules that the adapter should have and does not, by its own `target_modules`; or one of A and B without the other.
    #[error("adapter_model.safetensors lacks {names}")]
    MissingTensors {
        /// Names of tensors, or of modules.
        names: Names,
    },
    /// Modules that are not among `target_modules`.
    #[error("target_modules does not name {names}, for which there are tensors")]
    Untargeted {
        /// Names of modules.
        names: Names,
    },
    /// A tensor has the wrong shape, for example another rank than the configuration says.
    #[error(
        "tensor {name} has shape {found:?}; expected {expected:?} by config.json and adapter_config.json"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: [usize; 2],
    },
    /// A tensor is stored in a type that this library does not read.
    #[error("tensor {name} is stored as {dtype}; expected F32, F16 or BF16")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: &'static str,
    },
    /// Only one adapter is merged.
    #[error("another adapter is already merged")]
    Second,
}

/// The adapter, checked against an architecture.
pub(super) struct Adapter {
    /// By the name of the weight.
    modules: BTreeMap<String, LowRank>,
    digest: ModelDigest,
}

/// s·B·A, in f32.
struct LowRank {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl Adapter {
    pub(super) fn open(folder: &Path, manifest: &Manifest) -> Result<Self, LoadError> {
        let refuse = |source| LoadError::Adapter { folder: folder.to_owned(), source };
        Self::read(folder, manifest).map_err(refuse)
    }

    fn read(folder: &Path, manifest: &Manifest) -> Result<Self, AdapterError> {
        let bytes = |wanted: &'static str| {
            let path = folder.join(wanted);
            std::fs::read(&path).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => AdapterError::FileMissing { wanted },
                _ => AdapterError::Read { path, source },
            })
        };
        let (config, tensors) = (bytes(CONFIG)?, bytes(TENSORS)?);
        let digest = ModelDigest::of_contents([(CONFIG, config.as_slice()), (TENSORS, tensors.as_slice())]);
        let config = match serde_json::from_slice(&config) {
            Ok(Value::Object(fields)) => Config::parse(fields)?,
            Ok(_) => return Err(AdapterError::Json { source: None }),
            Err(source) => return Err(AdapterError::Json { source: Some(source) }),
        };
        let tensors = candle_core::safetensors::load_buffer(&tensors, &Device::Cpu)
            .map_err(|source| AdapterError::Tensors { source })?;
        let pairs = pairs(tensors.into_iter().collect(), manifest)?;
        config.check_targets(pairs.keys().map(String::as_str), manifest)?;
        let modules = pairs
            .into_iter()
            .map(|(module, pair)| Ok((format!("{module}.weight"), config.low_rank(&module, pair, manifest)?)))
            .collect::<Result<_, AdapterError>>()?;
        Ok(Self { modules, digest })
    }

    /// SHA-256 over both files.
    pub(super) fn digest(&self) -> ModelDigest {
        self.digest
    }

    pub(super) fn amend(self) -> Amend {
        Box::new(move |name, weight| {
            let Some(LowRank { a, b, scale }) = self.modules.get(name) else { return Ok(weight) };
            let change = (b.matmul(a)? * *scale)?;
            Ok((weight.to_dtype(DType::F32)? + change)?)
        })
    }
}

/// A and B of one module.
#[derive(Default)]
struct Pair {
    a: Option<(String, Tensor)>,
    b: Option<(String, Tensor)>,
}

/// The tensors by module. PEFT names them `base_model.model.<module>.lora_A.weight`.
fn pairs(
    tensors: BTreeMap<String, Tensor>,
    manifest: &Manifest,
) -> Result<BTreeMap<String, Pair>, AdapterError> {
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, tensor) in tensors {
        let inner = name.strip_prefix("base_model.model.").and_then(|name| name.strip_suffix(".weight"));
        let split = inner.and_then(|inner| inner.rsplit_once('.'));
        match split.filter(|(module, _)| matrix(module, manifest).is_some()) {
            Some((module, "lora_A")) => {
                pairs.entry(module.to_owned()).or_default().a = Some((name.clone(), tensor));
            }
            Some((module, "lora_B")) => {
                pairs.entry(module.to_owned()).or_default().b = Some((name.clone(), tensor));
            }
            _ => unknown.push(name),
        }
    }
    if unknown.is_empty() { Ok(pairs) } else { Err(AdapterError::UnknownTensors { names: Names(unknown) }) }
}

/// Rows and row length of a module that is a plain matrix.
fn matrix(module: &str, manifest: &Manifest) -> Option<(usize, usize)> {
    let entry = manifest.get(&format!("{module}.weight"))?;
    let is_linear = matches!(entry.role, Role::TextLinear | Role::VisionLinear);
    (is_linear && entry.shape.len() == 2).then(|| entry.matrix())
}

/// What adapter_config.json says about merging.
struct Config {
    rank: usize,
    alpha: f64,
    ranks: BTreeMap<String, usize>,
    alphas: BTreeMap<String, f64>,
    by_root_of_rank: bool,
    /// `None` for a regular expression, which is not evaluated.
    targets: Option<BTreeSet<String>>,
    /// Whether all modules that a target names have been adapted.
    all_of_targets: bool,
}

fn refused(field: &str, value: &Value, expected: &'static str) -> AdapterError {
    AdapterError::Field { field: field.to_owned(), value: value.to_string(), expected }
}

fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

impl Config {
    fn parse(mut fields: Map<String, Value>) -> Result<Self, AdapterError> {
        let mut take = |field: &str| fields.remove(field).unwrap_or(Value::Null);
        let config = Self {
            rank: rank("r", &take("r"))?,
            alpha: alpha("lora_alpha", &take("lora_alpha"))?,
            ranks: pattern("rank_pattern", take("rank_pattern"), rank)?,
            alphas: pattern("alpha_pattern", take("alpha_pattern"), alpha)?,
            by_root_of_rank: match take("use_rslora") {
                Value::Null => false,
                Value::Bool(by_root) => by_root,
                other => return Err(refused("use_rslora", &other, "true or false")),
            },
            targets: match take("target_modules") {
                Value::String(_) => None,
                Value::Array(names) if names.iter().all(Value::is_string) => {
                    Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                other => return Err(refused("target_modules", &other, "a list of names")),
            },
            all_of_targets: ["exclude_modules", "layers_to_transform"]
                .iter()
                .all(|field| fields.get(*field).is_none_or(is_neutral)),
        };
        for (field, value) in &fields {
            let expected = match field.as_str() {
                "peft_type" if value != "LORA" => "\"LORA\"",
                "bias" if value != "none" => "\"none\"",
                // The others change the base weights before training: A and B fit those, not the published ones.
                "init_lora_weights"
                    if !value.is_boolean()
                        && !["gaussian", "orthogonal", "eva"].iter().any(|kind| value == kind) =>
                {
                    "true, false, \"gaussian\", \"orthogonal\" or \"eva\""
                }
                "task_type" if !(value.is_null() || value.is_string()) => "a name or null",
                "peft_type" | "bias" | "init_lora_weights" | "task_type" => continue,
                field if OF_TRAINING.contains(&field) || is_neutral(value) => continue,
                _ => "null, false or empty: it changes what is merged, and this library does not know how",
            };
            return Err(refused(field, value, expected));
        }
        Ok(config)
    }

    /// The adapter has the modules that it says it has.
    fn check_targets<'a>(
        &self,
        modules: impl Iterator<Item = &'a str>,
        manifest: &Manifest,
    ) -> Result<(), AdapterError> {
        let Some(targets) = &self.targets else { return Ok(()) };
        let found: BTreeSet<&str> = modules.collect();
        let is_target = |module: &str| targets.iter().any(|target| is_named(module, target));
        let untargeted: Vec<String> =
            found.iter().filter(|module| !is_target(module)).map(|module| (*module).to_owned()).collect();
        if !untargeted.is_empty() {
            return Err(AdapterError::Untargeted { names: Names(untargeted) });
        }
        let unused = targets.iter().filter(|target| !found.iter().any(|module| is_named(module, target)));
        let mut missing: Vec<String> = unused.cloned().collect();
        if self.all_of_targets {
            let modules = manifest.entries().filter_map(|(name, _)| name.strip_suffix(".weight"));
            let lacking = modules.filter(|module| is_target(module) && !found.contains(module));
            missing.extend(lacking.map(str::to_owned));
        }
        if missing.is_empty() { Ok(()) } else { Err(AdapterError::MissingTensors { names: Names(missing) }) }
    }

    fn low_rank(&self, module: &str, pair: Pair, manifest: &Manifest) -> Result<LowRank, AdapterError> {
        let missing = |half| AdapterError::MissingTensors { names: Names(vec![format!("{module}.{half}")]) };
        let rank = own("rank_pattern", &self.ranks, module)?.unwrap_or(self.rank);
        let alpha = own("alpha_pattern", &self.alphas, module)?.unwrap_or(self.alpha);
        let (rows, row) = matrix(module, manifest).unwrap_or_default();
        let checked = |half: Option<(String, Tensor)>, missing, expected: [usize; 2]| {
            let (name, tensor) = half.ok_or(missing)?;
            if tensor.dims() != expected {
                return Err(AdapterError::Shape { name, found: tensor.dims().to_vec(), expected });
            }
            match tensor.dtype() {
                DType::F32 | DType::F16 | DType::BF16 => {
                    tensor.to_dtype(DType::F32).map_err(|source| AdapterError::Tensors { source })
                }
                other => Err(AdapterError::Dtype { name, dtype: other.as_str() }),
            }
        };
        let divisor = if self.by_root_of_rank { (rank as f64).sqrt() } else { rank as f64 };
        Ok(LowRank {
            a: checked(pair.a, missing("lora_A"), [rank, row])?,
            b: checked(pair.b, missing("lora_B"), [rows, rank])?,
            scale: alpha / divisor,
        })
    }
}

/// Whether a name of the configuration names a module: its whole path, or the end of it.
fn is_named(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// What a pattern has for a module. Of two names for it PEFT takes the one that was written first, which is not known here.
fn own<T: Copy>(
    field: &'static str,
    pattern: &BTreeMap<String, T>,
    module: &str,
) -> Result<Option<T>, AdapterError> {
    let mut found = pattern.iter().filter(|(name, _)| is_named(module, name));
    match (found.next(), found.next()) {
        (Some((name, _)), Some(_)) => {
            Err(refused(field, &Value::String(name.clone()), "one name for each module, not several"))
        }
        (first, _) => Ok(first.map(|(_, value)| *value)),
    }
}

fn pattern<T>(
    field: &'static str,
    value: Value,
    read: impl Fn(&str, &Value) -> Result<T, AdapterError>,
) -> Result<BTreeMap<String, T>, AdapterError> {
    let names = match value {
        Value::Null => Map::new(),
        Value::Object(names) => names,
        other => return Err(refused(field, &other, "an object of names")),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    names
        .iter()
        .map(|(name, value)| {
            if !name.chars().all(plain) {
                let name = Value::String(name.clone());
                return Err(refused(field, &name, "names of modules, not regular expressions"));
            }
            Ok((name.clone(), read(field, value)?))
        })
        .collect()
}

fn rank(field: &str, value: &Value) -> Result<usize, AdapterError> {
    let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
    rank.filter(|rank| *rank > 0).ok_or_else(|| refused(field, value, "a whole number above 0"))
}

fn alpha(field: &str, value: &Value) -> Result<f64, AdapterError> {
    value.as_f64().filter(|alpha| alpha.is_finite()).ok_or_else(|| refused(field, value, "a number"))
}
