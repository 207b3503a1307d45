//! One Hugging Face model folder, checked before anything of it is used.
//!
//! ```text
//! folder ─┬─ config.json, generation_config.json ─────────────▶ ModelConfig
//!         ├─ processor_config.json                              ┐
//!         │  or preprocessor_config.json,                       ├─▶ PictureConfig × 2
//!         │     video_preprocessor_config.json                  ┘
//!         ├─ tokenizer.json ──────────────────────────────────▶ tokenizer bytes
//!         ├─ chat_template.jinja
//!         │  or chat_template.json, tokenizer_config.json ────▶ template text
//!         ├─ model.safetensors
//!         │  or model.safetensors.index.json and its shards ──▶ Weights: every tensor of the architecture, no other
//!         └─ all of these ────────────────────────────────────▶ digest
//!
//! Weights ─ amend (adapters) ─ Loader: by Plan to floating point or quantised, from or into the weight cache ─▶ model
//! ```
//!
//! Invariant: a [`Checkpoint`] has exactly the tensors that its `config.json` asks for, in those shapes, in a type
//! that can be read. Files that are not in the diagram are not read and not part of the digest.

mod adapter;
mod digest;
mod loading;
mod manifest;
mod plan;
mod weight_cache;
mod weights;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::adapter::Adapter;
pub use self::adapter::AdapterError;
pub use self::digest::ModelDigest;
pub(crate) use self::loading::{Loader, TensorSource};
pub(crate) use self::manifest::{Entry, Manifest, Role};
pub(crate) use self::plan::{Held, Plan};
pub use self::weight_cache::{CacheFault, CacheUse};
pub(crate) use self::weights::Weights;
use crate::chat::SpecialTokens;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::picture_config::{PictureConfigs, ProcessorFiles};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// A checked model folder, ready to be given to [`crate::Engine::start`].
pub struct Checkpoint {
    pub(crate) config: ModelConfig,
    pub(crate) pictures: PictureConfigs,
    pub(crate) tokenizer: TokenizerFile,
    pub(crate) template: String,
    pub(crate) special_tokens: SpecialTokens,
    pub(crate) weights: Weights,
    pub(crate) manifest: Manifest,
    /// Where quantised weights are kept between starts.
    pub(crate) cache: Option<PathBuf>,
    digest: ModelDigest,
}

/// `tokenizer.json`, unparsed.
pub(crate) struct TokenizerFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Checkpoint {
    /// Opens and checks a folder. Weights are mapped, not copied; all files are read once for the digest, which for
    /// the 20 GB model takes tens of seconds.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        let mut folder = Folder { path: folder.as_ref().to_owned(), used: BTreeSet::new() };
        let config = folder.json("config.json")?.ok_or_else(|| folder.missing("config.json"))?;
        let generation = folder.json("generation_config.json")?;
        let config = ModelConfig::parse(&config, generation.as_ref())?;
        let processor = folder.json("processor_config.json")?;
        let image = folder.json("preprocessor_config.json")?;
        let video = folder.json("video_preprocessor_config.json")?;
        let files =
            ProcessorFiles { processor: processor.as_ref(), image: image.as_ref(), video: video.as_ref() };
        let pictures = PictureConfigs::parse(files, &config.vision)?;
        let tokenizer = TokenizerFile {
            bytes: folder.bytes("tokenizer.json")?.ok_or_else(|| folder.missing("tokenizer.json"))?,
            path: folder.path.join("tokenizer.json"),
        };
        let tokenizer_config = folder.json("tokenizer_config.json")?;
        let template = template(&mut folder, tokenizer_config.as_ref())?;
        let special_tokens = SpecialTokens::parse(tokenizer_config.as_ref());
        let weights = Weights::open(&shards(&mut folder)?)?;
        let manifest = Manifest::of(&config);
        manifest.check(&config, &weights)?;
        let digest = ModelDigest::of_files(&folder.path, &folder.used)?;
        Ok(Self {
            config,
            pictures,
            tokenizer,
            template,
            special_tokens,
            weights,
            manifest,
            cache: None,
            digest,
        })
    }

    /// Keeps quantised weights as a GGUF file in `folder`, which is made when it is needed, so that the next start reads
    /// them instead of quantising again. The file is of use to this library alone, may be deleted at any time, and is
    /// made anew when it is damaged or of another checkpoint, format or version.
    #[must_use]
    pub fn with_weight_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Merges the PEFT LoRA adapter of `folder` into the weights as they are loaded. The digest is then another one.
    pub fn with_adapter(mut self, folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        let folder = folder.as_ref();
        if self.weights.amend.is_some() {
            return Err(LoadError::Adapter { folder: folder.to_owned(), source: AdapterError::Second });
        }
        let adapter = Adapter::open(folder, &self.manifest)?;
        self.digest = self.digest.with_adapter(adapter.digest());
        self.weights.amend = Some(adapter.amend());
        Ok(self)
    }

    /// The architecture's numbers.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// SHA-256 over all files that the answers depend on.
    pub fn digest(&self) -> ModelDigest {
        self.digest
    }
}

/// The folder, and which of its files have been read.
struct Folder {
    path: PathBuf,
    used: BTreeSet<String>,
}

impl Folder {
    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let path = self.path.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                self.used.insert(name.to_owned());
                Ok(Some(bytes))
            }
            Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LoadError::Read { path, source }),
        }
    }

    fn json(&mut self, name: &str) -> Result<Option<Value>, LoadError> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| LoadError::Json { path: self.path.join(name), source })
    }

    fn missing(&self, wanted: &'static str) -> LoadError {
        LoadError::FileMissing { folder: self.path.clone(), wanted }
    }
}

/// The weight files: those of the index, else the single one.
fn shards(folder: &mut Folder) -> Result<Vec<PathBuf>, LoadError> {
    let names: BTreeSet<String> = match folder.json(INDEX)? {
        Some(index) => {
            let map: std::collections::BTreeMap<String, String> =
                crate::json_fields::Fields::root(INDEX, &index)?.required("weight_map")?;
            map.into_values().collect()
        }
        None if folder.path.join(SINGLE).exists() => BTreeSet::from([SINGLE.to_owned()]),
        None => return Err(folder.missing("model.safetensors or model.safetensors.index.json")),
    };
    for name in &names {
        // A shard elsewhere on the machine would escape the digest's naming and the operator's eye.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(LoadError::ShardName { shard: name.clone() });
        }
    }
    folder.used.extend(names.iter().cloned());
    Ok(names.into_iter().map(|name| folder.path.join(name)).collect())
}

/// The chat template, in transformers' order of preference.
fn template(folder: &mut Folder, tokenizer_config: Option<&Value>) -> Result<String, LoadError> {
    if let Some(bytes) = folder.bytes("chat_template.jinja")? {
        return String::from_utf8(bytes).map_err(|e| LoadError::Read {
            path: folder.path.join("chat_template.jinja"),
            source: std::io::Error::new(ErrorKind::InvalidData, e),
        });
    }
    if let Some(file) = folder.json("chat_template.json")? {
        return crate::json_fields::Fields::root("chat_template.json", &file)?.required("chat_template");
    }
    match tokenizer_config.and_then(|config| config.get("chat_template")) {
        Some(Value::String(template)) => Ok(template.clone()),
        // Several named templates: transformers takes the one called "default".
        Some(Value::Array(templates)) => templates
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")?.as_str().map(str::to_owned))
            .ok_or_else(|| folder.missing("chat template named \"default\"")),
        _ => Err(folder.missing("chat_template.jinja (nor a chat_template in tokenizer_config.json)")),
    }
}
