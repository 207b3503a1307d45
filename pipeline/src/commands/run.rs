//! `run`: the service.

use crate::{
    cli::Run,
    config::Config,
    exit::{Exit, Failure},
    log, signals,
    system::{Roles, System},
};

pub(crate) fn run(arguments: &Run, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log).map_err(Failure::usage)?;
    let interrupts = signals::interrupts()?;
    tracing::info!(config = config.redacted(), "effective configuration");
    let roles = Roles::only(&arguments.only).map_err(Failure::usage)?;
    let system = System::start(config, &roles)?;
    if let Some(address) = system.dicom() {
        tracing::info!(%address, ae_title = config.intake.ae_title, "DICOM port open");
    }
    if let Some(address) = system.console() {
        tracing::info!("console at http://{address}");
    }
    system.wait(&interrupts)?;
    Ok(Exit::Done)
}
