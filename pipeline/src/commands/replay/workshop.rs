//! What the arms of a replay work with: blobs, decode workers and models of its own process.

use std::sync::Arc;

use glm46v::Engine;
use replay::{
    plan::{Code, Pins},
    result::Arm,
};
use runtime::RetryPolicy;
use schemas::Digest;
use services::{DecodePool, ObjectBlobs};
use stage::{ModelBackend, Services};
use tempfile::TempDir;

use super::{
    chain::{Chain, Outside},
    step::{Counted, WithoutMemo},
};
use crate::{
    build_info,
    config::{BlobsKind, Config},
    exit::Failure,
    system::{Model, decode_pool, open_blobs},
};

/// Blobs and decode workers, and a folder for what models unpack.
pub(super) struct Workshop {
    pub(super) blobs: Arc<ObjectBlobs>,
    frames: Arc<DecodePool>,
    retry: RetryPolicy,
    /// The live system's lock and files are left alone.
    folder: TempDir,
}

/// A model that one or both arms ask.
pub(super) struct Loaded {
    backend: Arc<dyn ModelBackend>,
    _engine: Option<Engine>,
}

/// One arm, ready to work.
pub(super) struct ArmAtWork {
    pub(super) arm: Arm,
    pub(super) chain: Chain,
    pub(super) counted: Arc<Counted>,
    pub(super) pins: Pins,
}

impl Workshop {
    /// Opens the blob store of `config` and sets decode workers of its own beside it.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("prescreen-replay-").tempdir()?;
        // A bucket's local copies are of this process; a folder is the live system's.
        let root = match config.blobs.kind {
            BlobsKind::Folder => config.data_dir.as_path(),
            BlobsKind::S3 => folder.path(),
        };
        let blobs = open_blobs(config, root)?;
        let frames = Arc::new(decode_pool(config, &blobs)?);
        let options = &config.runtime;
        let retry = RetryPolicy {
            first: options.backoff_first.0,
            longest: options.backoff_most.0,
            record_budget: options.record_attempts,
        };
        Ok(Self { blobs, frames, retry, folder })
    }

    /// Loads the model of `config`.
    pub(super) fn load(&self, config: &Config) -> Result<Loaded, Failure> {
        let Model { backend, engine } = Model::start(config, self.folder.path())?;
        Ok(Loaded { backend, _engine: engine })
    }

    /// The stages of `config` from `start` on, asking `model`.
    pub(super) fn arm(
        &self,
        arm: Arm,
        config: &Config,
        start: &str,
        model: &Loaded,
    ) -> Result<ArmAtWork, Failure> {
        let counted = Arc::new(Counted::new(Arc::clone(&model.backend)));
        let outside = Outside {
            services: Services { model: counted.clone() },
            blobs: Arc::new(WithoutMemo(Arc::clone(&self.blobs))),
            frames: self.frames.clone(),
            retry: self.retry,
        };
        let chain = Chain::build(config, start, outside)?;
        let text = toml::to_string(&config.judged())?;
        let pins = Pins {
            config_sha256: Digest::of(text.as_bytes()),
            config: text,
            model: model.backend.identity().clone(),
            adapter: config.model.adapter.clone(),
            stages: chain.pins.clone(),
            code: Code {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                revision: Some(build_info::REVISION).filter(|known| *known != "unknown").map(str::to_owned),
            },
        };
        Ok(ArmAtWork { arm, chain, counted, pins })
    }
}

/// Whether both configurations ask the same model in the same way, so that one is loaded for both.
pub(super) fn share_a_model(one: &Config, other: &Config) -> bool {
    one.judged().get("model") == other.judged().get("model")
}
