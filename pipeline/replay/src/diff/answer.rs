//! What one side says of one study, read out of its rows.
//!
//! A later stage repeats what an earlier one said: the report carries the gate's verdict and the keyframes. Where a row is
//! not kept, as by the live system, what was carried along speaks for it; the earlier row speaks first.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    Bilingual, BlobRef, CheckVerdict, Clip, EfDistribution, FindingsInferred, Inference, InstanceUid,
    Keyframe, KeyframeKind, KeyframesExtracted, ReasonCode, Rejection, ReportIssued, StudyAccepted,
    StudyRejected, Verdict,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    DiffError,
    property::{Group, MeasureId, Property, WHOLE},
};
use crate::result::{Ended, ModelUse, StageResult};

/// The stages whose messages are read, in their order.
pub(crate) const QUALITY_GATE: &str = "quality_gate";
pub(crate) const KEYFRAMES: &str = "keyframes";
pub(crate) const INFERENCE: &str = "inference";
pub(crate) const REPORTING: &str = "reporting";
const ORDER: [&str; 4] = [QUALITY_GATE, KEYFRAMES, INFERENCE, REPORTING];

/// Whether a study comes to `stage` before it comes to `other`; not known of stages that are not among the four.
pub(crate) fn precedes(stage: &str, other: &str) -> bool {
    let place = |stage: &str| ORDER.iter().position(|known| *known == stage);
    place(stage).zip(place(other)).is_some_and(|(stage, other)| stage < other)
}

/// What a side says of a study, as a reader wants to see it beside the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// `accept`, `caution`, or `rejected` or `failed` with the stage.
    pub verdict: String,
    /// Reasons, warnings and doubts of every stage.
    pub codes: Vec<String>,
    /// Certainty of the report.
    pub certainty: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Ejection fraction in percent.
    pub lvef_percent: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// Ejection fraction from contours, in percent.
    pub geometric_percent: Option<f64>,
    /// The view that the model sees.
    pub view: Option<String>,
    /// The quality that it sees.
    pub quality: Option<String>,
    /// What it names.
    pub findings: Vec<String>,
}

/// A keyframe with its picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Of which instance.
    pub instance_uid: InstanceUid,
    /// What it shows.
    pub kind: KeyframeKind,
    /// Which frame, counted from 1.
    pub frame: u32,
    /// Which beat, or which tile, counted from 1.
    pub beat: u32,
    /// The masked picture.
    pub image: BlobRef,
}

/// What one side says of one study.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Which groups of properties this side speaks of at all.
    told: BTreeSet<(String, Group)>,
    /// What holds.
    pub(crate) present: BTreeSet<MeasureId>,
    /// Numbers.
    pub(crate) numbers: BTreeMap<MeasureId, f64>,
    /// What can only be the same or another.
    pub(crate) marks: BTreeMap<MeasureId, String>,
    /// Which stages have a row: only studies of the same way cost the same.
    pub(crate) stages: Vec<String>,
    pub(crate) summary: Summary,
    pub(crate) text: Option<Bilingual>,
    pub(crate) pictures: Vec<Picture>,
    /// The model's distribution of the ejection fraction.
    pub(crate) distribution: Option<EfDistribution>,
    /// The share of intervals that may miss, as the report's calibration set promises.
    pub(crate) alpha: Option<f64>,
}

impl Answer {
    /// Reads the rows of one study.
    pub(crate) fn of(rows: &BTreeMap<&str, &StageResult>) -> Result<Self, DiffError> {
        let mut answer = Self::default();
        let known = ORDER.iter().filter_map(|stage| rows.get(stage));
        let others = rows.iter().filter(|(stage, _)| !ORDER.contains(stage)).map(|(_, row)| row);
        for row in known.chain(others) {
            answer.take(row)?;
        }
        answer.add_costs(rows);
        answer.summary.codes = answer
            .present
            .iter()
            .filter_map(
                |id| if let Property::Code(code) = &id.property { Some(code.to_string()) } else { None },
            )
            .collect();
        answer.summary.codes.dedup();
        Ok(answer)
    }

    /// Whether this side speaks of the property at all.
    pub(crate) fn tells(&self, id: &MeasureId) -> bool {
        self.told.contains(&(id.subject.clone(), id.property.group()))
    }

    /// The first to speak of a group is heard.
    fn tell(&mut self, stage: &str, group: Group, present: impl IntoIterator<Item = Property>) {
        if self.told.insert((stage.to_owned(), group)) {
            self.present.extend(present.into_iter().map(|property| MeasureId::new(stage, property)));
        }
    }

    fn number(&mut self, stage: &str, property: Property, value: f64) {
        self.numbers.entry(MeasureId::new(stage, property)).or_insert(value);
    }

    fn take(&mut self, row: &StageResult) -> Result<(), DiffError> {
        let stage = row.stage.as_str();
        self.stages.push(stage.to_owned());
        if let Some(seconds) = row.seconds {
            self.number(stage, Property::Seconds, seconds);
        }
        self.tell(stage, Group::Failed, (row.ended == Ended::Failed).then_some(Property::Failed));
        match row.ended {
            Ended::Failed => self.summary.verdict = format!("failed: {stage}"),
            Ended::Rejected => {
                let rejection = rejection(row)?;
                self.tell(stage, Group::Rejected, [Property::Rejected]);
                self.tell(
                    stage,
                    Group::Code,
                    rejection.reasons.into_iter().map(|reason| Property::Code(reason.code)),
                );
                if stage == QUALITY_GATE {
                    self.tell(stage, Group::Caution, None);
                }
                self.summary.verdict = format!("rejected: {stage}");
            }
            Ended::Emitted => {
                self.tell(stage, Group::Rejected, None);
                match stage {
                    QUALITY_GATE => self.accepted(&read(row)?),
                    KEYFRAMES => self.extracted(&read(row)?),
                    INFERENCE => self.inferred(&read(row)?),
                    REPORTING => self.reported(read(row)?),
                    // A stage that this page does not know: its end, its time and its cost are compared.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn accepted(&mut self, accepted: &StudyAccepted) {
        let fit = || accepted.instances.iter().filter(|one| one.applicable && one.verdict != Verdict::Reject);
        let warned = fit().flat_map(|one| &one.checks).filter(|check| check.verdict == CheckVerdict::Warn);
        let cautions: BTreeSet<ReasonCode> = warned.filter_map(|check| check.code.clone()).collect();
        self.gated(accepted.verdict, cautions);
        let mut uids: Vec<&str> = fit().map(|one| one.instance_uid.as_str()).collect();
        uids.sort_unstable();
        self.mark(QUALITY_GATE, Property::FitInstances, uids.join(" "));
    }

    fn mark(&mut self, stage: &str, property: Property, mark: String) {
        if self.told.insert((stage.to_owned(), property.group())) {
            self.marks.insert(MeasureId::new(stage, property), mark);
        }
    }

    fn gated(&mut self, verdict: Verdict, cautions: impl IntoIterator<Item = ReasonCode>) {
        self.tell(QUALITY_GATE, Group::Rejected, None);
        self.tell(QUALITY_GATE, Group::Caution, (verdict == Verdict::Caution).then_some(Property::Caution));
        self.tell(QUALITY_GATE, Group::Code, cautions.into_iter().map(Property::Code));
        if self.summary.verdict.is_empty() {
            self.summary.verdict = label(verdict);
        }
    }

    fn extracted(&mut self, extracted: &KeyframesExtracted) {
        self.gated(extracted.verdict, extracted.cautions.iter().cloned());
        self.clips(&extracted.clips);
    }

    fn clips(&mut self, clips: &[Clip]) {
        self.tell(KEYFRAMES, Group::Rejected, None);
        let doubts = clips
            .iter()
            .flat_map(|clip| clip.flags.iter().chain(clip.geometry.iter().flat_map(|one| &one.flags)));
        self.tell(KEYFRAMES, Group::Code, doubts.cloned().map(Property::Code));
        if self.told.contains(&(KEYFRAMES.to_owned(), Group::Frames)) {
            return;
        }
        let mut frames: Vec<String> =
            clips.iter().flat_map(|clip| clip.keyframes.iter().map(|one| frame_mark(clip, one))).collect();
        frames.sort_unstable();
        self.mark(KEYFRAMES, Property::Frames, frames.join(" "));
        let pictures = clips.iter().flat_map(|clip| clip.keyframes.iter().map(|one| picture(clip, one)));
        self.pictures = pictures.collect();
        let mut measured: Vec<f64> =
            clips.iter().filter_map(|clip| Some(clip.geometry.as_ref()?.ef_percent)).collect();
        measured.retain(|percent| (0.0..=100.0).contains(percent));
        if let Some(median) = crate::statistics::median(&mut measured) {
            self.number(KEYFRAMES, Property::GeometricEf, median);
            self.summary.geometric_percent = Some(median);
        }
    }

    fn inferred(&mut self, inferred: &FindingsInferred) {
        self.gated(inferred.verdict, inferred.cautions.iter().cloned());
        self.clips(&inferred.clips);
        self.inference(&inferred.inference);
        if let Some(evidence) = &inferred.evidence {
            self.number(INFERENCE, Property::SemanticEntropy, evidence.semantic_entropy);
            self.distribution.clone_from(&evidence.ef);
        }
    }

    fn inference(&mut self, inference: &Inference) {
        self.tell(INFERENCE, Group::Rejected, None);
        match inference {
            Inference::Abstained(abstention) => {
                self.tell(INFERENCE, Group::Abstained, [Property::Abstained]);
                self.tell(INFERENCE, Group::Code, [Property::Code(abstention.code.clone())]);
            }
            Inference::Answer(said) => {
                self.tell(INFERENCE, Group::Abstained, None);
                self.tell(INFERENCE, Group::Code, None);
                let findings = said.findings.iter().map(|finding| finding.code.clone());
                self.tell(INFERENCE, Group::Finding, findings.clone().map(Property::Finding));
                let (view, quality) = (said.view.map(label), label(said.quality));
                self.tell(INFERENCE, Group::View, view.clone().map(Property::View));
                self.tell(INFERENCE, Group::Quality, [Property::Quality(quality.clone())]);
                self.summary.findings = findings.map(|code| code.to_string()).collect();
                (self.summary.view, self.summary.quality) = (view, Some(quality));
            }
        }
    }

    fn reported(&mut self, report: ReportIssued) {
        self.gated(report.verdict, report.cautions);
        self.clips(&report.clips);
        self.inference(&report.inference);
        let certainty = label(report.certainty);
        let tags: Vec<String> = report.tags.iter().copied().map(label).collect();
        self.tell(REPORTING, Group::Abstained, report.abstention.is_some().then_some(Property::Abstained));
        self.tell(REPORTING, Group::Code, report.abstention.map(Property::Code));
        self.tell(REPORTING, Group::Certainty, [Property::Certainty(certainty.clone())]);
        self.tell(REPORTING, Group::Tag, tags.iter().cloned().map(Property::Tag));
        let interval = report.ef.as_ref().and_then(|ef| ef.interval);
        self.tell(REPORTING, Group::LvefGiven, report.ef.is_some().then_some(Property::LvefGiven));
        self.tell(REPORTING, Group::IntervalGiven, interval.is_some().then_some(Property::IntervalGiven));
        if let Some(ef) = &report.ef {
            self.number(REPORTING, Property::Lvef, ef.percent);
            self.summary.lvef_percent = Some(ef.percent);
        }
        if let Some([low, high]) = interval {
            self.number(REPORTING, Property::IntervalWidth, high - low);
            self.summary.interval = interval;
        }
        self.mark(REPORTING, Property::Text, format!("{}\n{}", report.text.en, report.text.zh));
        (self.summary.certainty, self.summary.tags) = (Some(certainty), tags);
        self.text = Some(report.text);
        self.alpha = report.calibration.map(|set| set.alpha);
    }

    fn add_costs(&mut self, rows: &BTreeMap<&str, &StageResult>) {
        let seconds: Option<Vec<f64>> = rows.values().map(|row| row.seconds).collect();
        if let Some(seconds) = seconds {
            self.number(WHOLE, Property::Seconds, seconds.into_iter().sum());
        }
        let counted = rows.values().filter_map(|row| row.model).reduce(sum);
        if let Some(used) = counted {
            self.number(WHOLE, Property::Requests, used.requests as f64);
            self.number(WHOLE, Property::PromptTokens, used.prompt_tokens as f64);
            self.number(WHOLE, Property::GeneratedTokens, used.generated_tokens as f64);
        }
    }
}

/// Both together; a count beyond 64 bits stays at their end.
pub(crate) fn sum(a: ModelUse, b: ModelUse) -> ModelUse {
    ModelUse {
        requests: a.requests.saturating_add(b.requests),
        prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
        vision_tokens: a.vision_tokens.saturating_add(b.vision_tokens),
        generated_tokens: a.generated_tokens.saturating_add(b.generated_tokens),
    }
}

fn frame_mark(clip: &Clip, keyframe: &Keyframe) -> String {
    let Keyframe { kind, frame, beat, bbox, .. } = keyframe;
    format!("{}:{}:{beat}:{}:{bbox:?}", clip.instance_uid, label(kind), frame.0)
}

fn picture(clip: &Clip, keyframe: &Keyframe) -> Picture {
    Picture {
        instance_uid: clip.instance_uid.clone(),
        kind: keyframe.kind,
        frame: keyframe.frame.0,
        beat: keyframe.beat,
        image: keyframe.image.clone(),
    }
}

/// A word of a closed vocabulary, as messages write it.
fn label(word: impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(word)) => word,
        // Words of a closed vocabulary are strings; the contract test of the messages keeps them so.
        _ => String::new(),
    }
}

fn read<T: DeserializeOwned>(row: &StageResult) -> Result<T, DiffError> {
    T::deserialize(&row.output).map_err(|source| unreadable(row, source))
}

/// A rejection, with or without its message around it.
fn rejection(row: &StageResult) -> Result<Rejection, DiffError> {
    if row.output.get("rejection").is_some() {
        return Ok(read::<StudyRejected>(row)?.rejection);
    }
    read(row)
}

fn unreadable(row: &StageResult, source: serde_json::Error) -> DiffError {
    DiffError::Output { arm: row.arm, study: row.study_uid.clone(), stage: row.stage.clone(), source }
}
