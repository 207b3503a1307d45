//! The command line: one binary, roles and tools as subcommands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Hospital-wide AI pre-screening as a stream. For reference only; not a medical device.
#[derive(Debug, Parser)]
#[command(name = "prescreen", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Overlay on the built-in defaults; may be given several times.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Vec<PathBuf>,
    /// Set one option, for example --set console.listen=127.0.0.1:9000.
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub(crate) set: Vec<String>,
    /// Where state is kept; the same as --set data_dir=DIR.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The running system's API, instead of the one that --data-dir names.
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) api_url: Option<String>,
    /// File with the API token.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole system in one process, fed with synthetic studies of known truth over a DICOM association.
    Demo(Demo),
    /// Run the service: every role, or the ones named.
    Run(Run),
    /// Send files, folders or zips (DICOM, PNG, JPEG, TIFF) to the running system.
    Ingest(Ingest),
    /// Quality gate and keyframes on one study, offline.
    Inspect(Inspect),
    /// One request to the model.
    Generate(Generate),
    /// Make synthetic studies and their truth.
    Phantom {
        #[command(subcommand)]
        kind: Phantom,
    },
    /// One study's timeline: where it is, and why.
    Study {
        /// Study Instance UID.
        uid: String,
    },
    /// Backlog, oldest age and drain time by stage, and studies by state.
    Status,
    /// Check the configuration; with --live also broker, database, blobs and model.
    Check {
        /// Also reach for every part.
        #[arg(long)]
        live: bool,
    },
    /// Bring the database's tables to this version.
    Migrate {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the topics, or create the missing ones.
    Topics {
        /// Create what is missing.
        #[arg(long)]
        create: bool,
    },
    /// Measure; every number in the README comes from here.
    Bench(Bench),
    /// Decode frames for the parent process; started by it, never by hand.
    #[command(hide = true)]
    DecodeWorker,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many synthetic studies.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) studies: u32,
    /// Seed of the first study; the same seed makes the same studies.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// End when every study is terminal (0), or when one is not in time (1).
    #[arg(long)]
    pub(crate) once: bool,
    /// Port of the console; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Only these roles: intake, store, console, or a stage, for example --only keyframes,inference.
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    pub(crate) only: Vec<String>,
}

/// The lane a new study takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// Before routine studies.
    Urgent,
    /// Everything else.
    Routine,
}

/// The kind of examination of a picture without a DICOM header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PictureDomain {
    /// Echocardiography.
    Echo,
    /// H&E pathology.
    Pathology,
}

/// `ingest`
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Files, folders, zips.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Lane of new studies.
    #[arg(long, value_enum)]
    pub(crate) priority: Option<Lane>,
    /// These are phantoms, whatever their headers say.
    #[arg(long)]
    pub(crate) synthetic: bool,
    /// What pictures without a DICOM header show.
    #[arg(long, value_enum)]
    pub(crate) domain: Option<PictureDomain>,
    /// Wait for the terminal state of each study and print it.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Give up waiting after so long.
    #[arg(long, default_value = "10min", value_parser = humantime::parse_duration)]
    pub(crate) timeout: std::time::Duration,
}

/// `inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A file or a folder of one study.
    pub(crate) path: PathBuf,
    /// Write the keyframes as PNG under this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `generate`
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Folder of a Hugging Face checkpoint.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// A picture; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// What to ask.
    #[arg(long)]
    pub(crate) prompt: String,
    /// The system turn.
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// Cap on generated tokens.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) max_new_tokens: u32,
    /// Let the model think aloud first.
    #[arg(long)]
    pub(crate) thinking: bool,
    /// Write input_ids and the logits of each step as safetensors.
    #[arg(long, value_name = "FILE")]
    pub(crate) logits: Option<PathBuf>,
}

/// `phantom`
#[derive(Debug, Subcommand)]
pub(crate) enum Phantom {
    /// Echocardiography studies.
    Echo(PhantomEcho),
}

/// `phantom echo`
#[derive(Debug, Args)]
pub(crate) struct PhantomEcho {
    /// Where to write studies and truth.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
    /// Seed of the first one.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Spoil them: KIND or KIND:SEVERITY.
    #[arg(long, value_name = "KIND[:SEVERITY]")]
    pub(crate) corrupt: Option<String>,
}

/// `bench`
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_enum)]
    pub(crate) name: BenchName,
    /// The size that the committed table names, instead of the quick one.
    #[arg(long)]
    pub(crate) full: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    /// Records through the runtime against raw produce and consume.
    Pipeline,
}
