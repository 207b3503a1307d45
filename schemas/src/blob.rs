//! References to bytes in the blob store, by content.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::message::text_schema;

/// A text that is no SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("digest is not 64 lower-case hexadecimal characters")]
pub struct DigestError;

/// A SHA-256, written as 64 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere, for example while streaming.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(DigestError),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

text_schema!(Digest, "^[0-9a-f]{64}$", "SHA-256 in lower-case hexadecimal.");

/// The parts of the blob store. They differ in who may read them and how long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Instances byte-identical as received. Read by decode workers only.
    Raw,
    /// Masked frames and tiles.
    Frames,
    /// Records and instances set aside for a person to look at.
    Quarantine,
    /// Memoised expensive answers, keyed by their inputs instead of their content.
    Memo,
}

impl Area {
    /// The area's folder in the store.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Frames => "frames",
            Self::Quarantine => "quarantine",
            Self::Memo => "memo",
        }
    }
}

/// Bytes in the blob store, named by what they are: whoever reads them can tell whether they changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BlobRef {
    /// Which part of the store.
    pub area: Area,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub bytes: u64,
}

impl BlobRef {
    /// The reference to `bytes` in `area`.
    pub fn of(area: Area, bytes: &[u8]) -> Self {
        Self { area, sha256: Digest::of(bytes), bytes: bytes.len() as u64 }
    }

    /// The key in the store: `<area>/<first two hex digits>/<digest>`.
    pub fn key(&self) -> String {
        let digest = self.sha256.to_string();
        format!("{}/{}/{digest}", self.area.folder(), digest.get(..2).unwrap_or_default())
    }
}
