//! How far an answer may be believed: certainty, interval, doubts, and the reasons for giving no number at all.
//!
//! ```text
//!   FindingsInferred ─▶ reading: may it be believed, and what does it say ─▶ interval, if a set serves ─▶ certainty: the worst
//!                          │ no                                                  │ wider than allowed      of every rule
//!                          └──────────────────── ABSTAIN with a code ◀───────────┘
//! ```

pub(crate) mod certainty;
pub(crate) mod reading;

use std::collections::BTreeSet;

use calibration::{Asked, CalibrationSet, Interval, Refusal};
use schemas::{
    CalibrationUsed, Certainty, Clip, Domain, EfEstimate, Finding, FindingsInferred, ReasonCode, Tag, Verdict,
};

use certainty::{Checks, Rules};
use reading::{Number, is_phase_unreliable, reading};

/// The keyframe stage's marks that become tags.
const ARRHYTHMIA: ReasonCode = ReasonCode::known("ARRHYTHMIA");
const STAIN_FALLBACK: ReasonCode = ReasonCode::known("STAIN_FALLBACK");
const INTERVAL_TOO_WIDE: ReasonCode = ReasonCode::known("INTERVAL_TOO_WIDE");
const LANGUAGE_POLICY: ReasonCode = ReasonCode::known("LANGUAGE_POLICY");

/// Ejection fractions in percent at which the band changes: reduced up to 40, mildly reduced below 50, preserved from 50
/// (universal definition of heart failure, 2021).
const BAND_EDGES: [f64; 2] = [40.0, 50.0];

/// By what an answer is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measures<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) set: Option<&'a CalibrationSet>,
    pub(crate) allow_demo_model: bool,
    pub(crate) drift_alarm: bool,
}

/// What the report says of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    pub(crate) certainty: Certainty,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) abstention: Option<ReasonCode>,
    pub(crate) ef: Option<EfEstimate>,
    /// The set behind the interval, and behind an abstention for its width.
    pub(crate) calibration: Option<CalibrationUsed>,
    /// Features that may be named: none where the answer as a whole is not believed.
    pub(crate) findings: Option<Vec<Finding>>,
    /// Why the configured set stands behind no number here.
    pub(crate) refusal: Option<Refusal>,
}

impl Assessment {
    fn abstain(code: ReasonCode, tags: BTreeSet<Tag>) -> Self {
        Self {
            certainty: Certainty::Abstain,
            tags,
            abstention: Some(code),
            ef: None,
            calibration: None,
            findings: None,
            refusal: None,
        }
    }

    /// The same study after its text broke a rule: no number, no features.
    pub(crate) fn silenced(mut self) -> Self {
        self.tags.insert(Tag::LanguagePolicy);
        self.tags.retain(|tag| !is_about_the_number(*tag));
        Self { refusal: self.refusal, ..Self::abstain(LANGUAGE_POLICY, self.tags) }
    }
}

fn is_about_the_number(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::Uncalibrated | Tag::EfDisagree | Tag::BandAmbiguous | Tag::FormatUncertain | Tag::DriftAlarm
    )
}

pub(crate) fn assess(input: &FindingsInferred, measures: &Measures<'_>) -> Assessment {
    let mut tags = study_tags(input);
    let reading = match reading(input, measures.rules, measures.allow_demo_model) {
        Ok(reading) => reading,
        Err(declined) => {
            tags.extend(declined.tag);
            return Assessment { findings: declined.findings, ..Assessment::abstain(declined.code, tags) };
        }
    };
    tags.extend(reading.tags.iter().copied());
    let findings = Some(reading.findings.clone());
    let Some(number) = &reading.number else {
        // Features alone: nothing that could be calibrated.
        return Assessment {
            certainty: Certainty::High,
            tags,
            abstention: None,
            ef: None,
            calibration: None,
            findings,
            refusal: None,
        };
    };
    let (interval, refusal) = match measures.set.map(|set| served(set, input, number)) {
        None => (None, None),
        Some(Ok(served)) => (Some(served), None),
        Some(Err(refusal)) => (None, Some(refusal)),
    };
    tags.extend(interval.is_none().then_some(Tag::Uncalibrated));
    tags.extend(measures.drift_alarm.then_some(Tag::DriftAlarm));
    let calibration = interval.as_ref().map(|(_, used)| used.clone());
    let width = interval.as_ref().map(|(interval, _)| interval.width());
    if width.is_some_and(|width| width > measures.rules.abstain.interval_width) {
        return Assessment { calibration, ..Assessment::abstain(INTERVAL_TOO_WIDE, tags) };
    }
    let percent = number.prediction.reported();
    let gap = number.geometric_percent.map(|geometric| (percent - geometric).abs());
    tags.extend(gap.is_some_and(|gap| gap > measures.rules.medium.geometric_gap).then_some(Tag::EfDisagree));
    let bounds = interval.as_ref().map(|(interval, _)| interval.bounds);
    tags.extend(bounds.is_some_and(crosses_a_band).then_some(Tag::BandAmbiguous));
    let checks = Checks {
        interval_width: width,
        semantic_entropy: input.evidence.as_ref().map(|evidence| evidence.semantic_entropy),
        geometric_gap: gap,
        calibration_studies: interval.as_ref().map(|(interval, _)| interval.group.studies),
        verdict: input.verdict,
    };
    Assessment {
        certainty: certainty::certainty(&checks, &tags, measures.rules),
        tags,
        abstention: None,
        ef: Some(EfEstimate { percent, interval: bounds, geometric_percent: number.geometric_percent }),
        calibration,
        findings,
        refusal,
    }
}

/// The interval that `set` gives, or why it gives none.
fn served<'a>(
    set: &'a CalibrationSet,
    input: &FindingsInferred,
    number: &Number,
) -> Result<(Interval<'a>, CalibrationUsed), Refusal> {
    set.serves(&Asked {
        model: input.model.digest,
        fingerprint: input.fingerprint,
        synthetic: input.study.synthetic,
    })?;
    let interval = set.interval(&number.prediction, &number.traits);
    let used = CalibrationUsed {
        id: set.contents().id.clone(),
        digest: set.digest(),
        alpha: set.contents().alpha.get(),
        group: interval.group.label.clone(),
        studies: interval.group.studies,
        synthetic: set.contents().synthetic,
    };
    Ok((interval, used))
}

/// Whether the interval holds values of two bands. The edge belongs to the lower band at 40 and to the upper one at 50.
fn crosses_a_band([lower, upper]: [f64; 2]) -> bool {
    let [reduced, preserved] = BAND_EDGES;
    (lower <= reduced && upper > reduced) || (lower < preserved && upper >= preserved)
}

/// Marks that hold whatever the model said.
fn study_tags(input: &FindingsInferred) -> BTreeSet<Tag> {
    let cautioned = input.verdict == Verdict::Caution || !input.cautions.is_empty();
    let flagged = |code: &ReasonCode| input.clips.iter().any(|clip: &Clip| clip.flags.contains(code));
    let fallback = flagged(&STAIN_FALLBACK) || input.cautions.contains(&STAIN_FALLBACK);
    [
        (input.study.synthetic, Tag::Synthetic),
        (cautioned, Tag::QualityCaution),
        (input.clips.iter().any(is_phase_unreliable), Tag::PhaseUnreliable),
        (input.study.domain == Domain::Echo && flagged(&ARRHYTHMIA), Tag::Arrhythmia),
        (fallback, Tag::StainFallback),
    ]
    .into_iter()
    .filter_map(|(holds, tag)| holds.then_some(tag))
    .collect()
}
