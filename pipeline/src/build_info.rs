//! Which build this is, as a metric.

use prometheus::{IntGauge, Opts, Registry};

/// Declares `prescreen_build_info`, always 1.
pub(crate) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    let options = Opts::new("prescreen_build_info", "Which build this is; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    registry.register(Box::new(info))
}
