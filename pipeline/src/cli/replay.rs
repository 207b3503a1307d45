//! `replay`: a candidate configuration on a fixed range of topics, beside the live system.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runtime::bounded::Bound;
use schemas::{RunId, RunIdError};

/// `replay`
#[derive(Debug, Subcommand)]
pub(crate) enum Replay {
    /// Fix what is replayed and what it is compared with; exit code 1 where an input is lost.
    Plan(ReplayPlan),
    /// Do it, in this process and in isolation; a run that was killed is taken up again.
    Run(ReplayRun),
    /// Judge the candidate: 0 pass, 1 regression, 2 inconclusive, 3 no judgement possible.
    Diff(ReplayDiff),
    /// Make the candidate current, if the comparison is a pass.
    Promote(ReplayPromote),
}

/// `replay plan`
#[derive(Debug, Args)]
pub(crate) struct ReplayPlan {
    /// earliest, latest, a time (2026-11-21T08:00:00Z), or offsets by partition (0:120,1:98; urgent lane: urgent:0:7).
    #[arg(long, value_name = "T|OFFSETS", default_value = "earliest")]
    pub(crate) from: Bound,
    /// The same; what lies there is not replayed any more.
    #[arg(long, value_name = "T|OFFSETS", default_value = "latest")]
    pub(crate) to: Bound,
    /// Only these studies: a file with one Study Instance UID a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) studies: Option<PathBuf>,
    /// Replay dead letters instead, those of the start stage's topic, for example study.acquired.v1.dlq.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) dlq: Option<String>,
    /// The first stage done; its input topic is read.
    #[arg(long, value_name = "STAGE")]
    pub(crate) start_stage: String,
    /// Overlay on the present configuration, with [model] and [stages] only.
    #[arg(long, value_name = "CONFIG")]
    pub(crate) candidate: PathBuf,
    /// Where the plan is written.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `replay run`
#[derive(Debug, Args)]
pub(crate) struct ReplayRun {
    /// What `replay plan` wrote.
    pub(crate) plan: PathBuf,
    /// Its name: 1 to 64 of a-z, 0-9, '-', '_'.
    #[arg(long, value_name = "R", value_parser = replay_id)]
    pub(crate) run_id: RunId,
    /// At most so many studies a minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) rate: Option<u32>,
    /// Compute the baseline again too: exact pairs at every stage, and a noise floor.
    #[arg(long)]
    pub(crate) repeat_baseline: bool,
    /// Who begins it, for the list of runs.
    #[arg(long, value_name = "NAME", default_value = "command-line")]
    pub(crate) by: String,
}

/// `replay diff`
#[derive(Debug, Args)]
pub(crate) struct ReplayDiff {
    /// The run to judge.
    #[arg(value_name = "R", value_parser = run_id)]
    pub(crate) run: RunId,
    /// With --json: write the report there, byte for byte as it is kept, instead of onto the screen.
    #[arg(value_name = "FILE", requires = "json")]
    pub(crate) json_file: Option<PathBuf>,
    /// What to compare with: live, or the run whose repeated baseline it is. Without it this run's own repeated baseline, or
    /// live where it has none.
    #[arg(long, value_name = "live|R0", value_parser = run_id)]
    pub(crate) baseline: Option<RunId>,
    /// Also write the report as a page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also write the measures as JUnit.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Seed of the bootstraps; the same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `replay promote`
#[derive(Debug, Args)]
pub(crate) struct ReplayPromote {
    /// The run whose candidate becomes current.
    #[arg(value_name = "R", value_parser = run_id)]
    pub(crate) run: RunId,
    /// Although the comparison is no pass; the reason is recorded.
    #[arg(long, value_name = "REASON")]
    pub(crate) force: Option<String>,
    /// Who promotes, for the audit log.
    #[arg(long, value_name = "NAME", default_value = "command-line")]
    pub(crate) by: String,
}

fn run_id(text: &str) -> Result<RunId, RunIdError> {
    RunId::new(text)
}

/// The live system's own runs are no names for a replay.
fn replay_id(text: &str) -> Result<RunId, String> {
    match text {
        "live" | "heartbeat" => Err("this is a run of the live system; take another name".to_owned()),
        _ => RunId::new(text).map_err(|error| error.to_string()),
    }
}
