//! `migrate` and `topics`: what the service finds in place when it starts.

use std::io::Write as _;

use runtime::topics::{Ensured, ensure};

use crate::{
    config::Config,
    data_dir::DataDir,
    exit::{Exit, Failure},
    store,
    system::{Parts, topic_specs},
};

pub(crate) fn migrate(dry_run: bool, config: &Config) -> Result<Exit, Failure> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let parts = Parts::start(config, data_dir.path())?;
    let names = if dry_run { store::pending(&parts.database)? } else { store::migrate(&parts.database)? };
    let mut out = std::io::stdout().lock();
    for name in &names {
        writeln!(out, "{} {name}", if dry_run { "would apply" } else { "applied" })?;
    }
    if names.is_empty() {
        writeln!(out, "tables are up to date")?;
    }
    Ok(if dry_run && !names.is_empty() { Exit::No } else { Exit::Done })
}

pub(crate) fn topics(create: bool, config: &Config) -> Result<Exit, Failure> {
    let specs = topic_specs(config);
    let mut out = std::io::stdout().lock();
    if !create {
        for topic in &specs {
            writeln!(
                out,
                "{:<32} {} partition(s), {} replica(s)",
                topic.name, topic.partitions, topic.replication
            )?;
        }
        return Ok(Exit::Done);
    }
    let data_dir = DataDir::take(&config.data_dir)?;
    let parts = Parts::start(config, data_dir.path())?;
    for (topic, ensured) in specs.iter().zip(ensure(&parts.client, &specs)?) {
        let what = match ensured {
            Ensured::Created => "created",
            Ensured::Existed => "exists",
        };
        writeln!(out, "{:<32} {what}", topic.name)?;
    }
    Ok(Exit::Done)
}
