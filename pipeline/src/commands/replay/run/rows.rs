//! What an earlier process of the same run has stored.

use std::collections::{HashMap, HashSet};

use replay::{
    plan::Input,
    result::{Arm, Ended},
};
use schemas::{Revision, RunId, StudyUid};
use serde_json::Value;

use crate::api_client::{ApiClient, ApiError};

/// One study in one arm.
type Study = (Arm, StudyUid, Revision);

/// The steps that are done.
#[derive(Debug, Default)]
pub(super) struct Done {
    studies: HashMap<Study, Steps>,
}

/// How a step that is done ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored<'a> {
    /// With this message for the next one.
    WentOn(&'a Value),
    /// The study ended there.
    Ended,
}

#[derive(Debug, Default)]
struct Steps {
    names: HashSet<String>,
    /// Of a study that went on: the last step done and what it emitted. None where it ended there.
    last: Option<(String, Option<Value>)>,
    /// Whether the chain's last stage is among them.
    whole: bool,
}

impl Done {
    /// Asks the running system. Outputs are fetched only of studies that were under way.
    pub(super) fn ask(api: &ApiClient, run: &RunId, stages: &[String]) -> Result<Self, ApiError> {
        let mut studies: HashMap<Study, Steps> = HashMap::new();
        for step in api.done_steps(run)? {
            let steps = studies.entry((step.arm, step.study_uid, Revision(step.revision))).or_default();
            steps.whole |= stages.last() == Some(&step.stage);
            steps.names.insert(step.stage);
        }
        if studies.values().any(|steps| !steps.whole) {
            let place = |stage: &str| stages.iter().position(|name| name == stage);
            api.each_result(run, |row| {
                let Some(steps) = studies.get_mut(&(row.arm, row.study_uid, row.revision)) else { return };
                let later = steps.last.as_ref().is_none_or(|(last, _)| place(last) < place(&row.stage));
                if !steps.whole && later {
                    steps.last = Some((row.stage, (row.ended == Ended::Emitted).then_some(row.output)));
                }
            })?;
        }
        Ok(Self { studies })
    }

    fn of(&self, arm: Arm, input: &Input) -> Option<&Steps> {
        self.studies.get(&(arm, input.study_uid.clone(), input.revision))
    }

    /// How many steps of the study are done.
    pub(super) fn steps(&self, arm: Arm, input: &Input) -> usize {
        self.of(arm, input).map_or(0, |steps| steps.names.len())
    }

    /// Whether nothing is left to do.
    pub(super) fn is_through(&self, arm: Arm, input: &Input) -> bool {
        self.of(arm, input).is_some_and(|steps| steps.whole || matches!(&steps.last, Some((_, None))))
    }

    /// What is stored of `stage`, if it is done. Of a stage before the last one done the output is not asked for; it is told
    /// as null.
    pub(super) fn stored(&self, arm: Arm, input: &Input, stage: &str) -> Option<Stored<'_>> {
        const NOT_ASKED_FOR: &Value = &Value::Null;
        let steps = self.of(arm, input).filter(|steps| steps.names.contains(stage))?;
        match &steps.last {
            Some((last, output)) if last == stage => {
                Some(output.as_ref().map_or(Stored::Ended, Stored::WentOn))
            }
            _ => Some(Stored::WentOn(NOT_ASKED_FOR)),
        }
    }
}
