//! `check`: everything that can be known to be wrong before the service starts.

use std::io::Write as _;

use crate::{
    config::{Config, DatabaseKind},
    data_dir::DataDir,
    exit::{Exit, Failure},
    store,
    system::{Model, Parts, check_stages, open_blobs, topic_specs},
};

pub(crate) fn run(live: bool, config: &Config) -> Result<Exit, Failure> {
    check_stages(config)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "configuration: valid")?;
    if !live {
        return Ok(Exit::Done);
    }
    let data_dir = DataDir::take(&config.data_dir)?;
    let parts = Parts::start(config, data_dir.path())?;
    let mut failed = false;
    let mut line = |what: &str, result: Result<String, Failure>| -> std::io::Result<()> {
        match result {
            Ok(text) => writeln!(out, "{what}: {text}"),
            Err(failure) => {
                failed = true;
                writeln!(out, "{what}: FAILED: {}", failure.chain())
            }
        }
    };
    line(
        "broker",
        runtime::topics::ensure(&parts.client, &topic_specs(config))
            .map(|_| "answers, topics are there".to_owned())
            .map_err(Failure::from),
    )?;
    line(
        "database",
        store::pending(&parts.database).map_err(Failure::from).and_then(|pending| {
            let lacks = pending.join(", ");
            match config.database.kind {
                _ if pending.is_empty() => Ok("answers, tables are up to date".to_owned()),
                DatabaseKind::Embedded => Ok(format!("answers, {lacks} will be applied at the start")),
                DatabaseKind::Postgres => {
                    Err(Failure::from(format!("lacks {lacks}; run `prescreen migrate`")))
                }
            }
        }),
    )?;
    line(
        "blobs",
        open_blobs(config, data_dir.path()).and_then(|blobs| {
            let probe = stage::Blobs::put(&*blobs, schemas::Area::Quarantine, b"prescreen check")?;
            stage::Blobs::get(&*blobs, &probe)?;
            Ok("written and read back".to_owned())
        }),
    )?;
    line(
        "model",
        Model::start(config, data_dir.path())
            .map(|model| format!("is there, digest {}", model.backend.identity().digest)),
    )?;
    Ok(if failed { Exit::No } else { Exit::Done })
}
