//! Identifiers as types: a study UID is never mistaken for a series UID, and none holds what DICOM forbids.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::text_schema;

/// Why a text is no DICOM UID (PS3.5 §9.1: digits and dots, at most 64 characters).
///
/// The offending text is not repeated: it came from outside and may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    /// No characters at all.
    #[error("uid is empty; a DICOM uid has 1 to 64 characters")]
    Empty,
    /// More than 64 characters.
    #[error("uid has {length} characters; a DICOM uid has at most 64")]
    TooLong {
        /// Characters found.
        length: usize,
    },
    /// A character that is neither digit nor dot.
    #[error("uid has a character other than digits and dots at position {position}")]
    Character {
        /// Position of the first one, counted from 0.
        position: usize,
    },
    /// A dot at either end or two in a row.
    #[error("uid has an empty component; each dot stands between two numbers")]
    EmptyComponent,
}

/// A DICOM unique identifier (PS3.5 §9).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

text_schema!(Uid, r"^(?=.{1,64}$)[0-9]+(\.[0-9]+)*$", "DICOM unique identifier (PS3.5 section 9).");

impl Uid {
    /// Checks `text`. Trailing NUL or space padding (PS3.5 §6.2) is removed first.
    pub fn new(text: &str) -> Result<Self, UidError> {
        let text = text.trim_end_matches(['\0', ' ']);
        if text.is_empty() {
            return Err(UidError::Empty);
        }
        if let Some(position) = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.') {
            return Err(UidError::Character { position });
        }
        if text.len() > 64 {
            return Err(UidError::TooLong { length: text.len() });
        }
        if text.split('.').any(str::is_empty) {
            return Err(UidError::EmptyComponent);
        }
        Ok(Self(text.to_owned()))
    }

    /// The UID's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;
    fn try_from(text: String) -> Result<Self, UidError> {
        Self::new(&text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Uid {
    type Err = UidError;
    fn from_str(text: &str) -> Result<Self, UidError> {
        Self::new(text)
    }
}

macro_rules! uid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uid);

        impl $name {
            /// Checks `text` as a DICOM UID.
            pub fn new(text: &str) -> Result<Self, UidError> {
                Uid::new(text).map(Self)
            }

            /// The UID's characters.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = UidError;
            fn from_str(text: &str) -> Result<Self, UidError> {
                Self::new(text)
            }
        }
    };
}

uid_type! {
    /// Study Instance UID (0020,000D).
    StudyUid
}
uid_type! {
    /// Series Instance UID (0020,000E).
    SeriesUid
}
uid_type! {
    /// SOP Instance UID (0008,0018).
    InstanceUid
}

/// How often a study was closed: 1 at first, one more for every late arrival. Consumers keep the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Revision(#[schemars(range(min = 1))] pub u32);

impl Revision {
    /// The first closing of a study.
    pub const FIRST: Self = Self(1);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run id {text:?} is not 1 to 64 of a-z, 0-9, '-', '_'")]
pub struct RunIdError {
    text: String,
}

/// Which run a record belongs to: `live`, `heartbeat`, or a replay's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

text_schema!(RunId, r"^[a-z0-9_-]{1,64}$", "`live`, `heartbeat`, or a replay's name.");

impl RunId {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, RunIdError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(RunIdError { text: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The live system's run.
    pub fn live() -> Self {
        Self("live".to_owned())
    }

    /// The heartbeat's run: synthetic studies that show that the way is free.
    pub fn heartbeat() -> Self {
        Self("heartbeat".to_owned())
    }

    /// The run id's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;
    fn try_from(text: String) -> Result<Self, RunIdError> {
        Self::new(&text)
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The CloudEvents id of one record: derived from what caused it, so that doing the work again gives the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EventId(#[schemars(with = "String")] pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
