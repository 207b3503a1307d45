//! Structured logs on standard error, without patient data: logs never carry a UID in clear.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Libraries that see names and UIDs and print them when asked for details: statement parameters, data elements.
const INDISCREET: [&str; 2] = ["tokio_postgres", "dicom_"];

/// Starts logging for the process. Called once.
pub(crate) fn start(config: &Log) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| format!("log.filter {:?} is no tracing filter: {error}", config.filter))?;
    let filter = filter.and(filter_fn(is_discreet));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    match config.format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init()?,
        LogFormat::Json => registry.with(lines.json().with_filter(filter)).try_init()?,
    }
    Ok(())
}

/// Whatever `log.filter` says, an indiscreet library tells no details.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || !INDISCREET.iter().any(|prefix| metadata.target().starts_with(prefix))
}
