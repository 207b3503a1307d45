//! The codes of LOINC, SNOMED CT and DICOM for what reports speak of: one table, `config/reports/codes.json`, for the
//! structured report here and for everything that leaves for other systems.
//!
//! Only verified codes are handed out: a wrong code is worse than none.

use schemas::{CodeSystem, Coding, Digest, FindingsInferred, KeyframeKind, ReasonCode, View};
use serde::Deserialize;

use crate::assess::Assessment;

const TABLE: &str = include_str!("../../../config/reports/codes.json");

const LVEF: ReasonCode = ReasonCode::known("LVEF");
const SINGLE_PLANE: ReasonCode = ReasonCode::known("LVEF_METHOD_SINGLE_PLANE");

/// The table's hash, for the run fingerprint.
pub(crate) fn digest() -> Digest {
    Digest::of(TABLE.as_bytes())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(dead_code, reason = "for the reader of the file")]
    version: String,
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    codes: Vec<Row>,
}

/// One code of the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    concept: ReasonCode,
    system: CodeSystem,
    code: String,
    display: String,
    /// Seen in the standard or checked against the publisher; others are from memory and never leave.
    verified: bool,
}

/// The table.
#[derive(Debug)]
pub struct CodeTable(Vec<Row>);

impl CodeTable {
    /// The table this build carries.
    pub fn built_in() -> Self {
        #[expect(clippy::expect_used, reason = "the file is part of this build; tests read it")]
        let table: Table = serde_json::from_str(TABLE).expect("the table of codes is readable");
        Self(table.codes)
    }

    /// The verified codes of a concept, for example `LVEF` or `ALGORITHM_NAME`, in the table's order.
    pub fn verified(&self, concept: &ReasonCode) -> Vec<Coding> {
        let rows = self.0.iter().filter(|row| row.verified && row.concept == *concept);
        rows.map(|row| Coding {
            concept: row.concept.clone(),
            system: row.system,
            code: row.code.clone(),
            display: row.display.clone(),
        })
        .collect()
    }

    /// The codes of what a report speaks of: its number, its views and phases, the features it names.
    pub(crate) fn of_report(&self, input: &FindingsInferred, assessment: &Assessment) -> Vec<Coding> {
        let mut concepts: Vec<ReasonCode> = Vec::new();
        if let Some(ef) = &assessment.ef {
            concepts.push(LVEF);
            concepts.extend(ef.geometric_percent.map(|_| SINGLE_PLANE));
        }
        concepts.extend(input.clips.iter().filter_map(|clip| view_concept(clip.view?)));
        let kinds = input.clips.iter().flat_map(|clip| &clip.keyframes).map(|keyframe| keyframe.kind);
        concepts.extend(kinds.filter_map(phase_concept));
        concepts.extend(assessment.findings.iter().flatten().map(|finding| finding.code.clone()));
        let mut codings: Vec<Coding> = Vec::new();
        for coding in concepts.iter().flat_map(|concept| self.verified(concept)) {
            if !codings.contains(&coding) {
                codings.push(coding);
            }
        }
        codings
    }

    /// How many codes wait for a terminologist.
    pub fn unverified(&self) -> usize {
        self.0.iter().filter(|row| !row.verified).count()
    }
}

/// The concept of a view; none for views without a name.
fn view_concept(view: View) -> Option<ReasonCode> {
    match view {
        View::A4C => Some(const { ReasonCode::known("VIEW_A4C") }),
        View::A2C => Some(const { ReasonCode::known("VIEW_A2C") }),
        View::PLAX => Some(const { ReasonCode::known("VIEW_PLAX") }),
        View::PSAX => Some(const { ReasonCode::known("VIEW_PSAX") }),
        View::Subcostal | View::Other => None,
    }
}

fn phase_concept(kind: KeyframeKind) -> Option<ReasonCode> {
    match kind {
        KeyframeKind::ED => Some(const { ReasonCode::known("PHASE_ED") }),
        KeyframeKind::ES => Some(const { ReasonCode::known("PHASE_ES") }),
        KeyframeKind::Tile => None,
    }
}
