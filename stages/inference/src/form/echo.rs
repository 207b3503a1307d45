//! The form for one heart beat: `{"view":"A4C","quality":"good","lvef_percent":52,"findings":[]}`.

use schemas::{Answer, Finding, Quality, ReasonCode, View};
use serde::Deserialize;

use super::{
    NULL, QUALITIES, UnparsableAnswer, list, longest_word, object, one_of, one_of_or_null, present,
    quality_word, quoted,
};

pub(super) const KEYS: [&str; 4] = ["view", "quality", "lvef_percent", "findings"];

/// The observations the model may name, in the order of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingCode {
    /// The left ventricle contracts less than expected.
    LvSystolicFunctionReduced,
    /// A part of the left ventricular wall moves less than the rest.
    RegionalWallMotionAbnormal,
    /// The left ventricle is wide.
    LvDilated,
    /// The left ventricular wall is thick.
    LvWallThickened,
    /// The left atrium is wide.
    LaDilated,
    /// The right ventricle is wide.
    RvDilated,
    /// The right atrium is wide.
    RaDilated,
    /// Fluid around the heart.
    PericardialEffusion,
}

impl FindingCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::LvSystolicFunctionReduced,
        Self::RegionalWallMotionAbnormal,
        Self::LvDilated,
        Self::LvWallThickened,
        Self::LaDilated,
        Self::RvDilated,
        Self::RaDilated,
        Self::PericardialEffusion,
    ];

    /// The code as it stands in messages.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::LvSystolicFunctionReduced => const { ReasonCode::known("LV_SYSTOLIC_FUNCTION_REDUCED") },
            Self::RegionalWallMotionAbnormal => const { ReasonCode::known("REGIONAL_WALL_MOTION_ABNORMAL") },
            Self::LvDilated => const { ReasonCode::known("LV_DILATED") },
            Self::LvWallThickened => const { ReasonCode::known("LV_WALL_THICKENED") },
            Self::LaDilated => const { ReasonCode::known("LA_DILATED") },
            Self::RvDilated => const { ReasonCode::known("RV_DILATED") },
            Self::RaDilated => const { ReasonCode::known("RA_DILATED") },
            Self::PericardialEffusion => const { ReasonCode::known("PERICARDIAL_EFFUSION") },
        }
    }
}

const VIEWS: [View; 6] = [View::A4C, View::A2C, View::PLAX, View::PSAX, View::Subcostal, View::Other];

const fn view_word(view: View) -> &'static str {
    match view {
        View::A4C => "A4C",
        View::A2C => "A2C",
        View::PLAX => "PLAX",
        View::PSAX => "PSAX",
        View::Subcostal => "SUBCOSTAL",
        View::Other => "OTHER",
    }
}

/// The form on the wire.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(deserialize_with = "present")]
    view: Option<View>,
    quality: Quality,
    #[serde(deserialize_with = "present")]
    lvef_percent: Option<u8>,
    findings: Vec<FindingCode>,
}

pub(super) fn parse(text: &str) -> Result<Answer, UnparsableAnswer> {
    let form: Wire = object(text)?;
    if let Some(percent) = form.lvef_percent.filter(|percent| *percent > 100) {
        return Err(UnparsableAnswer::EjectionFraction { percent });
    }
    let repeated = |(index, code)| form.findings.iter().take(index).any(|earlier| earlier == code);
    if form.findings.iter().enumerate().any(repeated) {
        return Err(UnparsableAnswer::RepeatedFinding);
    }
    Ok(Answer {
        view: form.view,
        quality: form.quality,
        lvef_percent: form.lvef_percent,
        findings: form.findings.into_iter().map(|finding| Finding { code: finding.code() }).collect(),
    })
}

pub(super) fn schemas() -> [String; 4] {
    // Each set of findings once, in the order of the prompt. `uniqueItems` would say it shorter, but no grammar engine
    // at hand (llguidance 1.9, xgrammar) holds a model to it.
    let sets = (0_u32..1 << FindingCode::ALL.len()).map(|set| {
        let named = FindingCode::ALL.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
        list(named.map(|(_, finding)| quoted(finding.code().as_str())))
    });
    [
        one_of_or_null(VIEWS.map(view_word)),
        one_of(QUALITIES.map(quality_word)),
        r#"{"anyOf":[{"type":"integer","minimum":0,"maximum":100},{"type":"null"}]}"#.to_owned(),
        format!(r#"{{"enum":{}}}"#, list(sets)),
    ]
}

/// The answer up to its number: what every number is scored after.
pub(crate) fn before_number(view: Option<View>, quality: Quality) -> String {
    let view = view.map_or_else(|| NULL.to_owned(), |view| quoted(view_word(view)));
    format!(r#"{{"view":{view},"quality":"{}","lvef_percent":"#, quality_word(quality))
}

pub(super) fn longest_answer() -> usize {
    let view = longest_word(VIEWS.map(view_word)).max(NULL.len());
    let quality = longest_word(QUALITIES.map(quality_word));
    let number = "100".len().max(NULL.len());
    let findings = list(FindingCode::ALL.iter().map(|finding| quoted(finding.code().as_str()))).len();
    r#"{"view":,"quality":,"lvef_percent":,"findings":}"#.len() + view + quality + number + findings
}
