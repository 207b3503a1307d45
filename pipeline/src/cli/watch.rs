//! What operators give on the command line.

use std::time::Duration;

use clap::{Args, ValueEnum};
use schemas::Cause;

/// Who acts, for the audit log.
#[derive(Debug, Clone, Args)]
pub(crate) struct By {
    /// Who asks, for the audit log; the account's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `top`
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print one picture as text and end.
    #[arg(long)]
    pub(crate) once: bool,
}

/// `tap`
#[derive(Debug, Args)]
pub(crate) struct Tap {
    /// The topic, with .urgent or .dlq where that is meant.
    #[arg(long)]
    pub(crate) topic: String,
    /// At most this many records.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
    /// Wait so long for new records instead of showing the latest ones.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Of those that come, at most this many a second.
    #[arg(long, value_name = "N", requires = "wait", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rate: Option<u32>,
}

/// `redrive`
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// Only letters read from this topic, whatever its lane.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Only letters that died of this cause.
    #[arg(long, value_name = "CAUSE", value_parser = cause)]
    pub(crate) reason: Option<Cause>,
    /// Only say what would become of each.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) by: By,
}

fn cause(text: &str) -> Result<Cause, String> {
    text.parse().map_err(|_| format!("the causes are {}", Cause::ALL.map(Cause::as_str).join(", ")))
}

/// `pause`, `resume`
#[derive(Debug, Args)]
pub(crate) struct PauseStage {
    /// The stage, for example inference.
    pub(crate) stage: String,
    #[command(flatten)]
    pub(crate) by: By,
}

/// `graph`
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// As what.
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub(crate) format: GraphFormat,
}

/// Languages of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For Markdown pages.
    Mermaid,
    /// For Graphviz.
    Dot,
}
