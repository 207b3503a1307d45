//! Which build runs which model under which configuration, as metrics; and what the process takes of its machine.

use prometheus::{IntGauge, Opts, Registry, process_collector::ProcessCollector};
use schemas::Digest;

use crate::config::Config;

/// The commit that was built, if whoever built it said so.
pub(crate) const REVISION: &str = match option_env!("PRESCREEN_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Declares `prescreen_build_info`, always 1, and the `process_` family of the Prometheus client libraries. `model` is the
/// digest of the model that this process asks, if it asks one.
pub(crate) fn register(
    registry: &Registry,
    config: &Config,
    model: Option<String>,
) -> Result<(), prometheus::Error> {
    let options =
        Opts::new("prescreen_build_info", "Which build, model and configuration this is; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"))
            .const_label("revision", REVISION)
            .const_label("model_sha256", model.unwrap_or_default())
            .const_label("config_sha256", Digest::of(config.redacted().as_bytes()).to_string());
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    registry.register(Box::new(info))?;
    registry.register(Box::new(ProcessCollector::for_self()))
}
