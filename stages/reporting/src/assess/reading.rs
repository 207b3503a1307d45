//! What findings say, where they may be believed: the part of the judgement that needs no calibration set. The same
//! studies that pass here are those a set is made of.

use std::collections::BTreeSet;

use calibration::{Key, Prediction, Traits};
use schemas::{
    Answer, Clip, Domain, EfDistribution, Finding, FindingsInferred, Inference, Quality, ReasonCode, Tag,
    Verdict, View,
};

use super::certainty::Rules;

/// The keyframe stage's mark of a clip whose ED and ES it does not trust.
const PHASE_UNRELIABLE: ReasonCode = ReasonCode::known("PHASE_UNRELIABLE");
/// The gate's mark of a picture without the chambers of an apical view.
const VIEW_UNCONFIRMED: ReasonCode = ReasonCode::known("VIEW_UNCONFIRMED");
const GATE_REJECTED: ReasonCode = ReasonCode::known("GATE_REJECTED");
const MODEL_UNTRAINED: ReasonCode = ReasonCode::known("MODEL_UNTRAINED");
const MODEL_STUDY_MISMATCH: ReasonCode = ReasonCode::known("MODEL_STUDY_MISMATCH");
const IMAGE_QUALITY_POOR: ReasonCode = ReasonCode::known("IMAGE_QUALITY_POOR");
const LVEF_DECLINED: ReasonCode = ReasonCode::known("LVEF_DECLINED");
const VIEW_NOT_APICAL: ReasonCode = ReasonCode::known("VIEW_NOT_APICAL");
const VIEW_WRONG: ReasonCode = ReasonCode::known("VIEW_WRONG");
const VIEW_CONFLICT: ReasonCode = ReasonCode::known("VIEW_CONFLICT");
const FORMAT_UNCERTAIN: ReasonCode = ReasonCode::known("FORMAT_UNCERTAIN");

/// The ejection fraction that findings give.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The model's.
    pub prediction: Prediction,
    /// What kind of study it is, for the group of a calibration.
    pub traits: Traits,
    /// What the contours alone say, in percent.
    pub geometric_percent: Option<f64>,
}

/// Findings that may be believed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) findings: Vec<Finding>,
    /// Absent where none is asked for: pathology.
    pub(crate) number: Option<Number>,
    /// Doubts about the answer itself.
    pub(crate) tags: BTreeSet<Tag>,
}

/// Findings that may not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declined {
    pub(crate) code: ReasonCode,
    pub(crate) tag: Option<Tag>,
    /// Features that may be named all the same.
    pub(crate) findings: Option<Vec<Finding>>,
}

impl From<ReasonCode> for Declined {
    fn from(code: ReasonCode) -> Self {
        Self { code, tag: None, findings: None }
    }
}

/// Whether every number of a distribution is one, within 0 to 100 and in order.
pub(crate) fn is_sound(ef: &EfDistribution) -> bool {
    let percents = [ef.estimate, ef.q05, ef.q50, ef.q95];
    percents.iter().all(|percent| (0.0..=100.0).contains(percent))
        && ef.q05 <= ef.q50
        && ef.q50 <= ef.q95
        && [ef.variance_within, ef.variance_between].iter().all(|part| part.is_finite() && *part >= 0.0)
        && (0.0..=1.0 + 1e-6).contains(&ef.mass)
}

/// What `input` says, or why none of it is believed.
pub(crate) fn reading(
    input: &FindingsInferred,
    rules: &Rules,
    allow_demo_model: bool,
) -> Result<Reading, Declined> {
    let answer = believable(input, allow_demo_model)?;
    let findings = answer.findings.clone();
    if input.study.domain != Domain::Echo {
        return Ok(Reading { findings, number: None, tags: BTreeSet::new() });
    }
    let mut tags = BTreeSet::new();
    tags.extend(view(input, answer)?);
    let Some(percent) = answer.lvef_percent.map(f64::from) else {
        return Err(Declined { findings: Some(findings), ..LVEF_DECLINED.into() });
    };
    let distribution = input.evidence.as_ref().and_then(|evidence| evidence.ef.as_ref());
    let mass = distribution.map_or(1.0, |ef| ef.mass);
    if mass < rules.abstain.mass {
        return Err(Declined { tag: Some(Tag::FormatUncertain), ..FORMAT_UNCERTAIN.into() });
    }
    tags.extend((mass < rules.certain_mass).then_some(Tag::FormatUncertain));
    let prediction = distribution.map_or(Prediction::bare(percent), |ef| Prediction {
        estimate: ef.estimate,
        lower: ef.q05,
        upper: ef.q95,
        deviation: (ef.variance_within + ef.variance_between).sqrt(),
    });
    let number = Number { prediction, traits: traits(answer), geometric_percent: geometric_ef(&input.clips) };
    Ok(Reading { findings, number: Some(number), tags })
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
    let asked = asked_clips(input);
    if !asked.is_empty() && asked.iter().all(|clip| is_phase_unreliable(clip)) {
        return Err(PHASE_UNRELIABLE);
    }
    if answer.quality == Quality::Poor {
        return Err(IMAGE_QUALITY_POOR);
    }
    Ok(answer)
}

pub(crate) fn is_phase_unreliable(clip: &Clip) -> bool {
    clip.flags.contains(&PHASE_UNRELIABLE)
}

/// The clips that the model was shown, as far as its evidence says so; else all of them.
fn asked_clips(input: &FindingsInferred) -> Vec<&Clip> {
    let samples =
        input.evidence.iter().filter_map(|evidence| evidence.ef.as_ref()).flat_map(|ef| &ef.samples);
    let places: BTreeSet<u32> = samples.map(|sample| sample.asked.clip).collect();
    let asked = |(place, _): &(usize, &Clip)| places.is_empty() || places.contains(&(*place as u32));
    input.clips.iter().enumerate().filter(asked).map(|(_, clip)| clip).collect()
}

/// An ejection fraction is read from apical views only.
///
/// The model has seen the pictures and not the header. Where it names no apical view, or the header of every clip names
/// another kind of view, one of the two is wrong, and no number is given. Two apical views that differ are a doubt: the
/// long axis of both is that of the ventricle.
fn view(input: &FindingsInferred, answer: &Answer) -> Result<Option<Tag>, Declined> {
    let named: Vec<View> = asked_clips(input).iter().filter_map(|clip| clip.view).collect();
    let conflict = answer.view.is_some_and(|seen| !named.is_empty() && !named.contains(&seen));
    let tag = conflict.then_some(Tag::ViewConflict);
    if !answer.view.is_some_and(is_apical) {
        // Two that do not know of each other say so.
        let code = if input.cautions.contains(&VIEW_UNCONFIRMED) { VIEW_WRONG } else { VIEW_NOT_APICAL };
        return Err(Declined { tag, ..code.into() });
    }
    if conflict && !named.iter().copied().any(is_apical) {
        return Err(Declined { tag, ..VIEW_CONFLICT.into() });
    }
    Ok(tag)
}

fn is_apical(view: View) -> bool {
    matches!(view, View::A4C | View::A2C)
}

fn traits(answer: &Answer) -> Traits {
    let quality = match answer.quality {
        Quality::Good => "good",
        Quality::Fair => "fair",
        Quality::Poor => "poor",
    };
    let view = match answer.view {
        Some(View::A4C) => "A4C",
        Some(View::A2C) => "A2C",
        _ => "other",
    };
    let all = Traits::default().with(Key::Quality, quality).and_then(|all| all.with(Key::View, view));
    #[expect(clippy::expect_used, reason = "the words above are letters and digits")]
    all.expect("traits")
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
