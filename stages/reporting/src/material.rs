//! Where the editable parts of a report come from: this build, or a file of the site.

use std::{borrow::Cow, io::Read as _, path::PathBuf};

use serde::{Deserialize, Deserializer};

/// The word for the parts that this build carries.
const BUILT_IN: &str = "built-in";

/// Longest file read, in bytes: far above any sensible one.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// `built-in`, or a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Material {
    /// What this build carries.
    #[default]
    BuiltIn,
    /// A file or folder of the site.
    At(PathBuf),
}

impl<'de> Deserialize<'de> for Material {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == BUILT_IN { Self::BuiltIn } else { Self::At(text.into()) })
    }
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// Missing, not readable, or not UTF-8.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Longer than any sensible one.
    #[error("{path} is longer than {MAX_BYTES} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

impl Material {
    /// The text at `name` below this place (an empty name: the place itself), or `built_in`.
    pub(crate) fn text(
        &self,
        name: &str,
        built_in: &'static str,
    ) -> Result<Cow<'static, str>, MaterialError> {
        let Self::At(place) = self else { return Ok(Cow::Borrowed(built_in)) };
        let path = if name.is_empty() { place.clone() } else { place.join(name) };
        let mut text = String::new();
        let read =
            std::fs::File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        match read {
            Err(source) => Err(MaterialError::Unreadable { path, source }),
            Ok(length) if length as u64 > MAX_BYTES => Err(MaterialError::TooLong { path }),
            Ok(_) => Ok(Cow::Owned(text)),
        }
    }

    /// As it stands in the configuration.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::BuiltIn => BUILT_IN.to_owned(),
            Self::At(path) => path.display().to_string(),
        }
    }
}
