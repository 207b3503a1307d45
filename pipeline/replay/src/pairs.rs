//! Which rows of two sides speak of the same thing.
//!
//! Rows pair by (study, revision, stage). A row without its like is never dropped: it is listed with the reason, and
//! where the reason is not a clinical one, the comparison cannot pass.

use std::collections::BTreeMap;

use schemas::{Revision, StudyUid};
use serde::{Deserialize, Serialize};

use crate::{
    diff::{DiffError, answer::precedes},
    result::{Arm, Ended, StageResult},
};

/// One closing of one study.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StudyKey {
    /// Study Instance UID.
    pub study_uid: StudyUid,
    /// Which closing.
    pub revision: Revision,
}

/// Whose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    Baseline,
    /// What is judged.
    Candidate,
    /// The baseline's second answer, for the noise floor.
    Repetition,
}

impl Side {
    /// As it stands in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
            Self::Repetition => "repetition",
        }
    }
}

/// Why a row has no like on the other side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The study ended there at an earlier stage. That is the difference itself, and judged where it happened.
    EndedEarlier {
        /// At which.
        stage: String,
    },
    /// The live system does not keep what this stage said.
    NotKept,
    /// No row of the study at all.
    NoStudy,
    /// The study went on, and no row came: the run is not complete.
    Unfinished,
}

impl Absence {
    /// Whether the comparison lacks something that it should have.
    pub fn is_gap(&self) -> bool {
        matches!(self, Self::NoStudy | Self::Unfinished)
    }
}

/// A row without its like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unpaired {
    /// Which study.
    pub study: StudyKey,
    /// Which stage.
    pub stage: String,
    /// Who has none.
    pub missing: Side,
    /// Why.
    pub why: Absence,
}

/// The rows of one side, by study and stage.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) arm: Arm,
    pub(crate) studies: BTreeMap<StudyKey, BTreeMap<&'a str, &'a StageResult>>,
    /// Answers from the memo among rows of the live system, which may have some.
    pub(crate) live_memo_hits: u64,
}

impl<'a> Rows<'a> {
    /// Sorts `rows`.
    pub(crate) fn of(rows: &'a [StageResult], side: Side) -> Result<Self, DiffError> {
        let arm = rows.first().ok_or(DiffError::NoRows { side })?.arm;
        let mut sorted = Self { arm, studies: BTreeMap::new(), live_memo_hits: 0 };
        for row in rows {
            if row.arm != arm {
                return Err(DiffError::MixedArms { side, first: arm, other: row.arm });
            }
            if row.seconds.is_some_and(|seconds| !seconds.is_finite() || seconds < 0.0) {
                return Err(DiffError::Seconds { study: row.study_uid.clone(), stage: row.stage.clone() });
            }
            let key = StudyKey { study_uid: row.study_uid.clone(), revision: row.revision };
            if sorted.studies.entry(key).or_default().insert(&row.stage, row).is_some() {
                return Err(DiffError::Duplicate {
                    side,
                    study: row.study_uid.clone(),
                    stage: row.stage.clone(),
                });
            }
        }
        let with_hits = rows.iter().filter(|row| row.memo_hits > 0).count();
        let hits = rows.iter().map(|row| row.memo_hits).sum();
        match arm {
            Arm::Live => sorted.live_memo_hits = hits,
            Arm::Baseline | Arm::Candidate if hits > 0 => {
                return Err(DiffError::MemoHits { side, hits, rows: with_hits });
            }
            Arm::Baseline | Arm::Candidate => {}
        }
        Ok(sorted)
    }

    /// Whether this side has any row of `stage`.
    pub(crate) fn has_stage(&self, stage: &str) -> bool {
        self.studies.values().any(|stages| stages.contains_key(stage))
    }

    /// Why there is no row of `stage` for `study`.
    fn absence(&self, study: &StudyKey, stage: &str) -> Absence {
        let Some(stages) = self.studies.get(study) else { return Absence::NoStudy };
        let end = stages.values().find(|row| row.ended != Ended::Emitted && !precedes(stage, &row.stage));
        match end {
            Some(row) => Absence::EndedEarlier { stage: row.stage.clone() },
            None if self.arm == Arm::Live => Absence::NotKept,
            None => Absence::Unfinished,
        }
    }
}

/// How the rows of two sides meet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    /// Studies with a row on both sides.
    pub studies: u64,
    /// Pairs of rows by stage.
    pub by_stage: BTreeMap<String, u64>,
    /// Rows without their like, in order of study and stage.
    pub unpaired: Vec<Unpaired>,
}

impl Pairing {
    /// Rows that the comparison lacks and should have.
    pub fn gaps(&self) -> u64 {
        self.unpaired.iter().filter(|row| row.why.is_gap()).count() as u64
    }
}

/// Pairs the rows of `baseline` and `candidate`.
pub(crate) fn pair(baseline: &Rows<'_>, candidate: &Rows<'_>) -> Pairing {
    let mut pairing = Pairing::default();
    for (study, stages) in &baseline.studies {
        let others = candidate.studies.get(study);
        pairing.studies += u64::from(others.is_some());
        for stage in stages.keys() {
            if others.is_some_and(|others| others.contains_key(stage)) {
                *pairing.by_stage.entry((*stage).to_owned()).or_default() += 1;
            } else {
                let why = candidate.absence(study, stage);
                pairing.unpaired.push(unpaired(study, stage, Side::Candidate, why));
            }
        }
    }
    for (study, stages) in &candidate.studies {
        let others = baseline.studies.get(study);
        for stage in stages.keys() {
            if !others.is_some_and(|others| others.contains_key(stage)) {
                let why = baseline.absence(study, stage);
                pairing.unpaired.push(unpaired(study, stage, Side::Baseline, why));
            }
        }
    }
    pairing.unpaired.sort();
    pairing
}

fn unpaired(study: &StudyKey, stage: &str, missing: Side, why: Absence) -> Unpaired {
    Unpaired { study: study.clone(), stage: stage.to_owned(), missing, why }
}
