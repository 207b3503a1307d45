//! The composition root of prescreen: command line, configuration, wiring and store. Everything else is a crate of
//! its own; here it is only put together.

mod announce;
mod api_client;
mod arrival;
mod backlog;
mod build_info;
mod calibration_set;
mod carried_model;
mod cli;
mod commands;
mod config;
mod control;
mod data_dir;
mod drift;
#[cfg(feature = "embedded")]
mod embedded;
mod exit;
mod graph;
mod heartbeat;
mod history;
mod log;
mod memory;
mod outlet;
mod prompts;
mod redrive;
mod signals;
mod site;
mod store;
mod system;
mod tap;
mod trace;
mod truth;
mod whole_file;
mod word;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command, Options},
    config::{Config, Layers},
    exit::{Exit, Failure},
};

/// Runs the command line `arguments` with the process's `environment` and gives the exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; they are no errors.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    if let Command::DecodeWorker = cli.command {
        return commands::decode_worker::run();
    }
    let environment = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match run(&cli, environment) {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough: `prescreen status | head`.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {}", failure.chain());
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli, environment: Vec<(String, String)>) -> Result<Exit, Failure> {
    let options = &cli.options;
    let account = account(&environment);
    let config = || load(options, environment.clone());
    match &cli.command {
        Command::Demo(arguments) => commands::demo::run(arguments, options, config()?),
        Command::Run(arguments) => commands::run::run(arguments, &config()?),
        Command::Ingest(arguments) => commands::ingest::run(arguments, options, &config()?.data_dir),
        Command::Inspect(arguments) => commands::inspect::run(arguments, options, &config()?),
        Command::Generate(arguments) => commands::generate::run(arguments, options),
        Command::ServeModel => commands::serve_model::run(&config()?),
        Command::Phantom { kind } => commands::phantom::run(kind, options),
        Command::Study { uid } => commands::study::run(uid, options, &config()?.data_dir),
        Command::Status => commands::status::run(options, &config()?.data_dir),
        Command::Top(arguments) => commands::top::run(arguments, options, &config()?.data_dir),
        Command::Tap(arguments) => commands::tap::run(arguments, options, &config()?.data_dir),
        Command::Graph(arguments) => commands::graph::run(arguments, options),
        Command::Pause(arguments) => {
            let asked = commands::pause::Asked { arguments, paused: true, account: &account };
            commands::pause::run(&asked, options, &config()?.data_dir)
        }
        Command::Resume(arguments) => {
            let asked = commands::pause::Asked { arguments, paused: false, account: &account };
            commands::pause::run(&asked, options, &config()?.data_dir)
        }
        Command::Redrive(arguments) => {
            commands::redrive::run(arguments, &account, options, &config()?.data_dir)
        }
        Command::Check { live } => commands::check::run(*live, &config()?),
        Command::Migrate { dry_run } => commands::tables::migrate(*dry_run, &config()?),
        Command::Topics { create } => commands::tables::topics(*create, &config()?),
        Command::Calibrate(arguments) => commands::calibrate::run(arguments, options, &config()?),
        Command::Replay { step } => commands::replay::run(step, options, &config()?),
        Command::Bench(arguments) => commands::bench::run(arguments, options, &config()?),
        // Taken before any configuration is read.
        Command::DecodeWorker => Ok(Exit::Usage),
    }
}

/// Whose account this is, for the audit log of the running system.
fn account(environment: &[(String, String)]) -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| environment.iter().find(|(key, _)| key == name));
    named
        .map(|(_, value)| value.clone())
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn load(options: &Options, environment: Vec<(String, String)>) -> Result<Config, Failure> {
    let mut assignments = options.set.clone();
    if let Some(data_dir) = &options.data_dir {
        assignments
            .push(format!("data_dir={}", toml::Value::String(data_dir.to_string_lossy().into_owned())));
    }
    let layers = Layers { files: options.config.clone(), environment, assignments, ..Layers::default() };
    Config::in_effect(layers).map_err(Failure::usage)
}
