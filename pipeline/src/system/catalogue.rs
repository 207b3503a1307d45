//! What the catalogue of stages says: names, topics, and hence the roles a process may take.
//!
//! Nothing here names a stage: a new one appears by its line in the catalogue.

use schemas::{InstanceGated, Message as _, StudyRejected, Topic};
use stage::{Stage, Visitor};

/// One stage, without its types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Metric label and configuration table.
    pub(crate) name: &'static str,
    /// What it reads.
    pub(crate) input: Topic,
    /// What it writes.
    pub(crate) output: Topic,
}

struct Entries(Vec<Entry>);

impl Visitor for Entries {
    fn stage<S: Stage>(&mut self) {
        self.0.push(Entry { name: S::NAME, input: S::In::TOPIC, output: S::Out::TOPIC });
    }
}

/// Every stage, in the order of the data's way.
pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = Entries(Vec::new());
    stages::visit(&mut entries);
    entries.0
}

/// Every topic of the data's way, each once.
pub(crate) fn topics() -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    let beside = [StudyRejected::TOPIC, InstanceGated::TOPIC];
    for topic in entries().iter().flat_map(|entry| [entry.input, entry.output]).chain(beside) {
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// What a process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles {
    /// DICOM port, spool, publisher.
    pub(crate) intake: bool,
    /// The stages it runs, by name.
    pub(crate) stages: Vec<&'static str>,
    /// Results into PostgreSQL.
    pub(crate) store: bool,
    /// Pages and API.
    pub(crate) console: bool,
}

/// A role that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--only {given:?} is no role; the roles are {}", names().join(", "))]
pub(crate) struct UnknownRole {
    given: String,
}

/// A stage's name as a role: the command line writes words with hyphens.
fn role_of(stage: &str) -> String {
    stage.replace('_', "-")
}

fn names() -> Vec<String> {
    let stages = entries().into_iter().map(|entry| role_of(entry.name));
    ["intake".to_owned()]
        .into_iter()
        .chain(stages)
        .chain(["store".to_owned(), "console".to_owned()])
        .collect()
}

impl Roles {
    /// Every role.
    pub(crate) fn all() -> Self {
        let stages = entries().into_iter().map(|entry| entry.name).collect();
        Self { intake: true, stages, store: true, console: true }
    }

    /// The roles named; every role where none is.
    pub(crate) fn only(given: &[String]) -> Result<Self, UnknownRole> {
        if given.is_empty() {
            return Ok(Self::all());
        }
        let mut roles = Self { intake: false, stages: Vec::new(), store: false, console: false };
        for name in given {
            match name.as_str() {
                "intake" => roles.intake = true,
                "store" => roles.store = true,
                "console" => roles.console = true,
                _ => {
                    let entry = entries().into_iter().find(|entry| role_of(entry.name) == *name);
                    roles.stages.push(entry.ok_or_else(|| UnknownRole { given: name.clone() })?.name);
                }
            }
        }
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_reads_what_an_earlier_one_or_intake_writes() {
        let mut written = vec![schemas::StudyAcquired::TOPIC];
        for entry in entries() {
            assert!(
                written.contains(&entry.input),
                "{} reads a topic that nobody before it writes",
                entry.name
            );
            written.push(entry.output);
        }
    }

    #[test]
    fn roles_are_named_as_on_the_command_line() {
        let roles = Roles::only(&["quality-gate".to_owned(), "store".to_owned()]).expect("roles");
        assert_eq!(roles, Roles { intake: false, stages: vec!["quality_gate"], store: true, console: false });
        let error = Roles::only(&["quality_gate".to_owned()]).expect_err("no role");
        assert!(error.to_string().contains("quality-gate"), "{error}");
        assert_eq!(Roles::only(&[]), Ok(Roles::all()));
    }
}
