//! Why an object is not taken, typed by what the sender should do about it.

use std::io;

use pixels::PrescanError;

/// Why an object is not taken. Nothing of it is kept as an instance; nothing the sender said is repeated.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too little room on the spool's disk.
    #[error(
        "spool disk has {free} bytes free and must keep {reserve}; make room or wait until it has drained"
    )]
    NoSpace {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// Larger than the limit.
    #[error("object is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The data set does not pass the pre-scan.
    #[error("object is not a data set that can be taken")]
    Unparsable(#[source] PrescanError),
    /// The data set is another object than the one announced.
    #[error("data set and request disagree on {what}")]
    Mismatch {
        /// What they disagree on.
        what: &'static str,
    },
    /// Another object is already known under the same SOP Instance UID.
    #[error("another object is known under this SOP Instance UID; the newcomer is in quarantine")]
    Conflict,
    /// A phantom in a patient's study, or the reverse.
    #[error(
        "synthetic mark differs from that of the instances received before; phantoms need a study of their own"
    )]
    SyntheticMix,
    /// The preamble begins like a program.
    #[error("preamble begins like an executable; export the object with an empty preamble")]
    ExecutablePreamble,
    /// A file of a format that is not taken.
    #[error("file is neither DICOM nor PNG, JPEG, TIFF or a zip of them")]
    UnknownFormat,
    /// The index of a DICOM medium.
    #[error("file is a DICOMDIR, the index of a medium; the objects beside it are taken one by one")]
    MediaDirectory,
    /// A still image whose header cannot be read.
    #[error("{format} header cannot be read, or its size is over the limit")]
    DamagedImage {
        /// Which format it claims to be.
        format: &'static str,
    },
    /// A symbolic link, device, socket or the like.
    #[error("not a regular file; links and devices are not followed")]
    NotAFile,
    /// A folder nested too deep.
    #[error("folder is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An archive over a limit, damaged, encrypted or nested.
    #[error("zip archive cannot be taken: {problem}")]
    Archive {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("file cannot be read")]
    Unreadable(#[source] io::Error),
    /// The spool's disk failed.
    #[error("spool failed to {action}")]
    Spool {
        /// What it was doing.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The spool took an earlier write error that cannot be undone, or intake has stopped.
    #[error("intake takes nothing any more; see the log for the first failure and start it again")]
    Stopped,
}

impl Refusal {
    /// A stable code for reports, metrics and quarantine file names.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSpace { .. } => "NO_SPACE",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::Unparsable(error) => error.code(),
            Self::Mismatch { .. } => "MISMATCH",
            Self::Conflict => "CONFLICT",
            Self::SyntheticMix => "SYNTHETIC_MIX",
            Self::ExecutablePreamble => "EXECUTABLE_PREAMBLE",
            Self::UnknownFormat => "UNKNOWN_FORMAT",
            Self::MediaDirectory => "MEDIA_DIRECTORY",
            Self::DamagedImage { .. } => "DAMAGED_IMAGE",
            Self::NotAFile => "NOT_A_FILE",
            Self::TooDeep { .. } => "TOO_DEEP",
            Self::Archive { .. } => "ARCHIVE",
            Self::Unreadable(_) => "UNREADABLE",
            Self::Spool { .. } => "SPOOL",
            Self::Stopped => "STOPPED",
        }
    }

    /// Is the fault in the object, so that its bytes are worth a look in quarantine? Otherwise it is ours, or there are
    /// no bytes.
    pub(crate) fn blames_the_object(&self) -> bool {
        match self {
            Self::Unparsable(error) => !is_machine_failure(error),
            Self::Mismatch { .. }
            | Self::Conflict
            | Self::SyntheticMix
            | Self::ExecutablePreamble
            | Self::DamagedImage { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn spool(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Spool { action, source }
    }
}

/// A damaged deflate stream comes as an I/O error too; only the rest is the machine's.
pub(crate) fn is_machine_failure(error: &PrescanError) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error, PrescanError::Io(source) if !matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof))
}
