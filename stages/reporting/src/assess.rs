//! How far an answer may be believed: certainty, doubts, and the reasons for giving no number at all.

use std::collections::BTreeSet;

use schemas::{
    Answer, Certainty, Clip, EfEstimate, Finding, FindingsInferred, Inference, Quality, ReasonCode, Tag,
    Verdict,
};

/// Points between the model's and the contours' ejection fraction above which they disagree: twice the spread between
/// two expert readers, rounded down.
const EF_DISAGREE_POINTS: f64 = 10.0;

/// The keyframe stage's mark of a clip whose ED and ES it does not trust.
const PHASE_UNRELIABLE: ReasonCode = ReasonCode::known("PHASE_UNRELIABLE");
const GATE_REJECTED: ReasonCode = ReasonCode::known("GATE_REJECTED");
const MODEL_UNTRAINED: ReasonCode = ReasonCode::known("MODEL_UNTRAINED");
const MODEL_STUDY_MISMATCH: ReasonCode = ReasonCode::known("MODEL_STUDY_MISMATCH");
const IMAGE_QUALITY_POOR: ReasonCode = ReasonCode::known("IMAGE_QUALITY_POOR");
const LVEF_DECLINED: ReasonCode = ReasonCode::known("LVEF_DECLINED");
const LANGUAGE_POLICY: ReasonCode = ReasonCode::known("LANGUAGE_POLICY");

/// What the report says of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    pub(crate) certainty: Certainty,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) abstention: Option<ReasonCode>,
    pub(crate) ef: Option<EfEstimate>,
    /// Features that may be named: none where the answer as a whole is not believed.
    pub(crate) findings: Option<Vec<Finding>>,
}

impl Assessment {
    /// The same study after its text broke a rule: no number, no features.
    pub(crate) fn silenced(mut self) -> Self {
        self.tags.insert(Tag::LanguagePolicy);
        self.tags.retain(|tag| !is_about_the_number(*tag));
        Self {
            certainty: Certainty::Abstain,
            abstention: Some(LANGUAGE_POLICY),
            ef: None,
            findings: None,
            ..self
        }
    }
}

fn is_about_the_number(tag: Tag) -> bool {
    matches!(tag, Tag::Uncalibrated | Tag::EfDisagree)
}

pub(crate) fn assess(input: &FindingsInferred, allow_demo_model: bool) -> Assessment {
    let mut tags = study_tags(input);
    let abstain = |code, findings, tags| Assessment {
        certainty: Certainty::Abstain,
        tags,
        abstention: Some(code),
        ef: None,
        findings,
    };
    let answer = match believable(input, allow_demo_model) {
        Ok(answer) => answer,
        Err(code) => return abstain(code, None, tags),
    };
    tags.extend(view_conflict(answer, &input.clips).then_some(Tag::ViewConflict));
    let findings = Some(answer.findings.clone());
    let Some(percent) = answer.lvef_percent.map(f64::from) else {
        return abstain(LVEF_DECLINED, findings, tags);
    };
    // No calibration set exists yet, so no interval and nothing better than the highest uncertainty.
    tags.insert(Tag::Uncalibrated);
    let disagrees = |geometry: f64| (percent - geometry).abs() > EF_DISAGREE_POINTS;
    tags.extend(geometric_ef(&input.clips).is_some_and(disagrees).then_some(Tag::EfDisagree));
    let ef = Some(EfEstimate { percent, interval: None });
    Assessment { certainty: Certainty::High, tags, abstention: None, ef, findings }
}

/// Marks that hold whatever the model said.
fn study_tags(input: &FindingsInferred) -> BTreeSet<Tag> {
    let cautioned = input.verdict == Verdict::Caution || !input.cautions.is_empty();
    let unreliable = input.clips.iter().any(phase_unreliable);
    [
        input.study.synthetic.then_some(Tag::Synthetic),
        cautioned.then_some(Tag::QualityCaution),
        unreliable.then_some(Tag::PhaseUnreliable),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The answer, or why none of it is believed.
///
/// The stage before has abstained for an untrained model and for a model of phantoms already. It is asked again here,
/// because a replay may bring findings made under another configuration.
fn believable(input: &FindingsInferred, allow_demo_model: bool) -> Result<&Answer, ReasonCode> {
    let answer = match &input.inference {
        Inference::Abstained(abstention) => return Err(abstention.code.clone()),
        Inference::Answer(answer) => answer,
    };
    if input.model.untrained {
        return Err(MODEL_UNTRAINED);
    }
    if input.model.synthetic_only != input.study.synthetic && !allow_demo_model {
        return Err(MODEL_STUDY_MISMATCH);
    }
    if input.verdict == Verdict::Reject {
        return Err(GATE_REJECTED);
    }
    if !input.clips.is_empty() && input.clips.iter().all(phase_unreliable) {
        return Err(PHASE_UNRELIABLE);
    }
    if answer.quality == Quality::Poor {
        return Err(IMAGE_QUALITY_POOR);
    }
    Ok(answer)
}

fn phase_unreliable(clip: &Clip) -> bool {
    clip.flags.contains(&PHASE_UNRELIABLE)
}

/// The model names a view and no clip that has one agrees.
fn view_conflict(answer: &Answer, clips: &[Clip]) -> bool {
    let mut named = clips.iter().filter_map(|clip| clip.view).peekable();
    answer.view.is_some_and(|seen| named.peek().is_some() && named.all(|view| view != seen))
}

/// The median over clips of what their contours say; a value outside 0 to 100 is no ejection fraction.
fn geometric_ef(clips: &[Clip]) -> Option<f64> {
    let geometry = clips.iter().filter_map(|clip| clip.geometry.as_ref());
    let mut values: Vec<f64> =
        geometry.map(|geometry| geometry.ef_percent).filter(|ef| (0.0..=100.0).contains(ef)).collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}
