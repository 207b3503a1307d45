//! Errors by the reaction they ask for.

/// A boxed cause.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// How far a transient failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A dependency is down (blob store, backend): every record would fail. The stage pauses, without limit, loudly.
    Dependency,
    /// This record fails: it is tried again within a persisted budget, then it is a dead letter.
    Record,
}

/// Why a stage could not answer. The variant decides what the runtime does.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// This input can never work: a dead letter at once.
    #[error("input cannot be processed")]
    Invalid(#[source] Source),
    /// It may work later.
    #[error("temporary failure")]
    Transient {
        /// How far it reaches.
        scope: Scope,
        /// Why.
        source: Source,
    },
    /// The worker itself cannot go on: it stops, and the process ends with an exit code that is not 0.
    #[error("worker cannot go on")]
    Fatal(#[source] Source),
}

impl StageError {
    /// An input that can never work.
    pub fn invalid(source: impl Into<Source>) -> Self {
        Self::Invalid(source.into())
    }

    /// A dependency that is down.
    pub fn dependency(source: impl Into<Source>) -> Self {
        Self::Transient { scope: Scope::Dependency, source: source.into() }
    }

    /// A failure of this record alone.
    pub fn record(source: impl Into<Source>) -> Self {
        Self::Transient { scope: Scope::Record, source: source.into() }
    }
}

/// A configuration value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; {expected}")]
pub struct ConfigError {
    /// The key below the stage's table.
    pub key: &'static str,
    /// The value found.
    pub value: String,
    /// What would be right.
    pub expected: String,
}
