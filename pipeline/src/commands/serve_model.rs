//! `serve-model`: the engine behind the OpenAI chat API, in a process of its own.

use std::{fs, path::Path};

use model_server::{ApiKey, ModelServer, ServerConfig};
use prometheus::Registry;
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    build_info,
    config::Config,
    exit::{Exit, Failure},
    log, signals,
    system::start_engine,
    whole_file,
};

pub(crate) fn run(config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log).map_err(Failure::usage)?;
    let interrupts = signals::interrupts()?;
    let server = &config.model_server;
    let settings = ServerConfig {
        listen: server.listen,
        keys: keys(config)?,
        model: server.name.clone(),
        max_body: usize::try_from(server.max_body.0).unwrap_or(usize::MAX),
        max_pixels: server.max_pixels,
        default_tokens: server.default_tokens,
    };
    let (engine, checkpoint) = start_engine(config, &config.data_dir)?;
    let registry = Registry::new();
    build_info::register(&registry, config, Some(engine.handle().info().digest.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = ModelServer::bind(engine.handle(), settings, registry).await?;
        tracing::info!(address = %server.address()?, checkpoint, "model served");
        let (stop, stopped) = watch::channel(false);
        spawn_blocking(move || {
            // The first signal stops; an error means that none can come any more.
            let _ = interrupts.recv();
            let _ = stop.send(true);
        });
        server.serve(stopped).await?;
        Ok(Exit::Done)
    })
}

/// The configured keys, or the one in the data directory, which is made at the first start.
fn keys(config: &Config) -> Result<Vec<ApiKey>, Failure> {
    let too_short = || Failure::usage("model_server.keys: a key has less than 16 characters; make it longer");
    let configured = &config.model_server.keys;
    if !configured.is_empty() {
        return configured
            .iter()
            .map(|key| ApiKey::new(&key.read().map_err(Failure::usage)?).ok_or_else(too_short))
            .collect();
    }
    let path = config.data_dir.join("model-server.key");
    let key = match fs::read_to_string(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_key(&path)?,
        Err(error) => return Err(error.into()),
    };
    tracing::info!(file = %path.display(), "no key is configured; clients use the one in this file");
    Ok(vec![ApiKey::new(key.trim_end()).ok_or_else(too_short)?])
}

fn make_key(path: &Path) -> Result<String, Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let key = uuid::Uuid::new_v4().simple().to_string();
    whole_file::write_private(path, key.as_bytes())?;
    Ok(key)
}
