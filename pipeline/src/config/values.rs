//! Values with units, as an operator writes them: `"50ms"`, `"256MiB"`.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

/// A span of time such as `"50ms"`, `"2m 30s"`, `"30days"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(|error| format!("{text:?} is no duration such as \"50ms\" or \"30days\": {error}"))
    }
}

/// A number of bytes such as `"256MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text[digits.len()..].trim() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1_u64 << 40,
            _ => {
                return Err(format!(
                    "{text:?} is no size such as \"256MiB\"; units are B, KiB, MiB, GiB, TiB"
                ));
            }
        };
        let number: u64 =
            digits.trim().parse().map_err(|_| format!("{text:?} is no size such as \"256MiB\""))?;
        number.checked_mul(unit).map(Self).ok_or_else(|| format!("{text:?} is larger than any disk"))
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where the engine computes, such as `"cpu"` or `"cuda:0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Device(pub(crate) glm46v::DeviceChoice);

impl TryFrom<String> for Device {
    type Error = glm46v::UnknownDevice;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// A secret by reference. A literal secret in a configuration file is an error.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(crate) enum Secret {
    /// The file's content, trailing line end removed.
    File(PathBuf),
    /// An environment variable's content.
    Env(String),
}

impl TryFrom<toml::Value> for Secret {
    type Error = &'static str;
    /// By hand, because a derived error repeats what it found, and that may be the secret itself.
    fn try_from(value: toml::Value) -> Result<Self, Self::Error> {
        let wrong = "a secret is given by reference, as { file = \"path\" } or { env = \"NAME\" }";
        let toml::Value::Table(table) = value else { return Err(wrong) };
        let mut keys = table.into_iter();
        match (keys.next(), keys.next()) {
            (Some((key, toml::Value::String(path))), None) if key == "file" => Ok(Self::File(path.into())),
            (Some((key, toml::Value::String(name))), None) if key == "env" => Ok(Self::Env(name)),
            _ => Err(wrong),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
        }
    }
}

/// A secret that could not be read. Names the reference, never the content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file is not readable.
    #[error("cannot read the secret in file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("environment variable {name} is not set")]
    Env {
        /// Which variable.
        name: String,
    },
}

impl Secret {
    /// Reads the secret.
    pub(crate) fn read(&self) -> Result<String, SecretError> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|source| SecretError::File { path: path.clone(), source }),
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads a secret from the environment"
            )]
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_binary_units_and_nothing_else() {
        assert_eq!("256MiB".parse(), Ok(Size(256 << 20)));
        assert_eq!("1 GiB".parse(), Ok(Size(1 << 30)));
        for wrong in ["256", "256MB", "MiB", "-1MiB", "99999999999TiB", ""] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_carry_units() {
        assert_eq!(Span::try_from("50ms".to_owned()), Ok(Span(Duration::from_millis(50))));
        assert!(Span::try_from("50".to_owned()).is_err());
    }
}
