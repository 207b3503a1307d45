//! The command line: one binary, roles and tools as subcommands.

mod replay;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use replay::{Replay, ReplayDiff, ReplayPlan, ReplayPromote, ReplayRun};
pub(crate) use watch::{Graph, GraphFormat, PauseStage, Redrive, Tap, Top};

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
    /// The engine behind the OpenAI chat API.
    ServeModel,
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
    /// The same in the terminal, a look a second; q quits.
    Top(Top),
    /// Show a masked sample of a topic.
    Tap(Tap),
    /// The pipeline as a picture; nothing has to run.
    Graph(Graph),
    /// Let a stage take nothing new, in every process, until it is resumed; audited.
    Pause(PauseStage),
    /// Let a paused stage go on.
    Resume(PauseStage),
    /// Send dead letters back to the topics they were read from; audited.
    Redrive(Redrive),
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
    /// Fit uncertainty to studies with a confirmed ejection fraction, and write the calibration set.
    Calibrate(Calibrate),
    /// A candidate configuration on a fixed range of topics, beside the live system, and a verdict on what changes.
    Replay {
        #[command(subcommand)]
        step: Replay,
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
    /// Write a sheet, DIR/index.html, and the keyframes, masks and tiles on it as PNG beside it.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// They are phantoms, whether or not they are marked so.
    #[arg(long)]
    pub(crate) synthetic: bool,
}

/// `generate`
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Folder of a Hugging Face checkpoint.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Folder of a PEFT LoRA adapter to merge into it.
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// A picture; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// What to ask.
    #[arg(long)]
    pub(crate) prompt: String,
    /// The system turn.
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// What the answer begins with; the model goes on from there.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) answer_prefix: String,
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
    /// H&E fields of view, or whole slides.
    Pathology(PhantomPathology),
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
    /// Spoil them: KIND or KIND:SEVERITY, the severity in the kind's own unit; --help lists them.
    #[arg(long, value_name = "KIND[:SEVERITY]", long_help = echo_corruptions())]
    pub(crate) corrupt: Option<String>,
    /// The view of each study's loop, beside it a still; without it an A4C and an A2C loop and a still.
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "loops")]
    pub(crate) view: Option<EchoView>,
    /// Whole exams of so many instances: one A4C loop among colour, spectra, stills, M-mode, worksheets, other views.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) loops: Option<u16>,
    /// What the machine does not send, as many in the field do not.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    pub(crate) omit: Vec<EchoPart>,
    /// Pixels as JPEG baseline or as they are.
    #[arg(long, value_enum, default_value_t = EchoEncoding::Jpeg)]
    pub(crate) encoding: EchoEncoding,
}

/// The view of an echo phantom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EchoView {
    /// Apical four-chamber.
    A4c,
    /// Apical two-chamber.
    A2c,
    /// Parasternal long axis.
    Plax,
    /// Parasternal short axis at the papillary muscles.
    Psax,
    /// Subcostal four-chamber.
    Subcostal,
    /// One after the other, study by study.
    Mixed,
}

/// What an echo machine may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EchoPart {
    /// View code and view name.
    View,
    /// R Wave Time Vector.
    RWaves,
    /// Heart Rate.
    HeartRate,
    /// The electrocardiogram in the picture.
    Ecg,
}

/// How an echo phantom is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EchoEncoding {
    /// JPEG baseline, YBR_FULL_422.
    Jpeg,
    /// Explicit VR little endian, RGB.
    Native,
}

/// Every kind of corruption with its unit and range, so that the help cannot differ from what is accepted.
fn echo_corruptions() -> String {
    let kinds = phantom::echo::CorruptionKind::ALL.map(|kind| match kind.scale() {
        Some(scale) => {
            format!("  {kind}:{}  {} to {} {}", scale.usual, scale.least, scale.most, scale.unit)
        }
        None => format!("  {kind}"),
    });
    format!(
        "Spoil them: KIND or KIND:SEVERITY. With the severity that KIND alone has, its range and unit:\n{}\nWhere all \
         severities are negative, the magnitude does: under_gain:20 is -20 dB.",
        kinds.join("\n")
    )
}

/// `phantom pathology`
#[derive(Debug, Args)]
pub(crate) struct PhantomPathology {
    /// Where to write studies and truth.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
    /// Seed of the first one.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Spoil them: KIND or KIND:SEVERITY, the severity in the kind's own unit.
    #[arg(long, value_name = "KIND[:SEVERITY]")]
    pub(crate) corrupt: Option<String>,
    /// Whole slides instead of fields of view; as dicom, dicom-sparse or tiff.
    #[arg(long)]
    pub(crate) slide: bool,
    /// How they are stored.
    #[arg(long, value_enum, default_value_t = PathologyFormat::Dicom)]
    pub(crate) format: PathologyFormat,
}

/// How a pathology phantom is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathologyFormat {
    /// VL Whole Slide Microscopy, every tile listed.
    Dicom,
    /// VL Whole Slide Microscopy without its tiles of glass; slides only.
    DicomSparse,
    /// PNG; fields only. Picture files carry no phantom mark in a header: bring them in with `ingest --synthetic`.
    Png,
    /// JPEG; fields only.
    Jpeg,
    /// TIFF; a slide is a pyramid of JPEG tiles in BigTIFF.
    Tiff,
}

/// `calibrate`
#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    /// `reviewed` for what physicians decided in the running system, or a file of JSON lines, each
    /// {"findings": findings.inferred.v1, "truth_ef": PERCENT, "vendor": NAME, "subject": PSEUDONYM}, the last two optional.
    #[arg(long, value_name = "reviewed|FILE")]
    pub(crate) from: PathBuf,
    /// Where the set is written; table and plots beside it.
    #[arg(long, value_name = "SET")]
    pub(crate) out: PathBuf,
    /// The share of intervals that may miss.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) alpha: f64,
    /// What tells groups of studies apart; a group of fewer than 100 takes the bound without the first key.
    #[arg(long, value_delimiter = ',', value_name = "KEY,…", default_value = "vendor,quality,view")]
    pub(crate) group_by: Vec<calibration::Key>,
    /// In what terms errors are measured.
    #[arg(long, value_enum, default_value_t = Score::Quantiles)]
    pub(crate) score: Score,
    /// Name and version of the set; the file's name where none is given.
    #[arg(long)]
    pub(crate) id: Option<String>,
}

/// In what terms a calibration measures errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Score {
    /// How far outside the model's own 5 to 95 % range.
    Quantiles,
    /// Distance from the number in units of its stated deviation plus one.
    Scaled,
}

impl From<Score> for calibration::Score {
    fn from(score: Score) -> Self {
        match score {
            Score::Quantiles => Self::Quantiles,
            Score::Scaled => Self::Scaled,
        }
    }
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
    /// The Python that `engine` and `eyes` run beside; python3 where none is named.
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// Where `trust` writes the studies it calibrates on, as `calibrate --from` reads them.
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    /// The model's engine beside transformers, on a random model of 154 million parameters.
    Engine,
    /// Decoding, gate, keyframes and stains beside pydicom, OpenCV and torchstain, in one run.
    Eyes,
    /// What the quality gate says of phantoms, clean and spoilt.
    Gate,
    /// ED, ES and ejection fraction of phantoms against their truth.
    Keyframes,
    /// Records through the runtime against raw produce and consume.
    Pipeline,
    /// Errors, intervals and abstentions of the configured model on fresh phantoms, and of an untrained one.
    Trust,
}
