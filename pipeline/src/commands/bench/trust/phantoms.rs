//! Phantoms on their way to findings, in process.

use console::site::ConfirmedStudy;
use inference::InferenceStage;
use jiff::Timestamp;
use keyframes::Keyframes;
use phantom::echo::{Corruption, CorruptionKind, EchoSpec, Omission, View};
use quality_gate::QualityGate;
use schemas::{FindingsInferred, ReasonCode};
use stage::{Ctx, Outcome, Stage as _, testing::MemoryBlobs};

use super::super::gate::exam::Exam;
use crate::{exit::Failure, word::word};

/// What is wrong with the phantoms of a group, if anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Group {
    /// Nothing: an A4C loop, every fifth an A2C loop.
    Apical,
    /// Another view, and no header that says so.
    WrongView(View),
    /// An A4C loop spoilt so that nobody could read it.
    Corrupted(CorruptionKind),
}

/// Spoilt beyond reading: the severities at which `bench gate` asks for a rejection, or the usual one.
const CORRUPTIONS: [(CorruptionKind, Option<f64>); 8] = [
    (CorruptionKind::Blur, Some(2.0)),
    (CorruptionKind::OverGain, Some(20.0)),
    (CorruptionKind::UnderGain, Some(-20.0)),
    (CorruptionKind::Noise, Some(-32.0)),
    (CorruptionKind::Static, Some(1.0)),
    (CorruptionKind::Truncated, Some(0.6)),
    (CorruptionKind::ColourBoxSilent, None),
    (CorruptionKind::NoFan, None),
];

impl Group {
    /// Every group, the sound one first.
    pub(super) fn all() -> Vec<Self> {
        let views = [View::Plax, View::Psax, View::Subcostal].map(Self::WrongView);
        let spoilt = CORRUPTIONS.map(|(kind, _)| Self::Corrupted(kind));
        [Self::Apical].into_iter().chain(views).chain(spoilt).collect()
    }

    /// As the table names it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Apical => "apical".to_owned(),
            Self::WrongView(view) => format!("{} unnamed", word(schema_view(view))),
            Self::Corrupted(kind) => kind.to_string(),
        }
    }

    fn view(self, seed: u64) -> View {
        match self {
            Self::WrongView(view) => view,
            Self::Apical if seed.is_multiple_of(5) => View::A2c,
            Self::Apical | Self::Corrupted(_) => View::A4c,
        }
    }

    fn spec(self, seed: u64) -> Result<EchoSpec, Failure> {
        let mut spec = EchoSpec::sample(seed).with_loop(self.view(seed));
        match self {
            Self::Apical => Ok(spec),
            Self::WrongView(_) => {
                spec.omissions.push(Omission::View);
                Ok(spec)
            }
            Self::Corrupted(kind) => {
                if matches!(kind, CorruptionKind::OverGain | CorruptionKind::UnderGain) {
                    // Severities of gain count from a machine that is set right.
                    spec.machine.gain_db = 0.0;
                }
                let severity =
                    CORRUPTIONS.iter().find(|(one, _)| *one == kind).and_then(|(_, severity)| *severity);
                Ok(match severity {
                    Some(severity) => spec.spoilt_by(Corruption::new(kind, severity)?),
                    None => spec.spoilt_by(kind),
                })
            }
        }
    }
}

fn schema_view(view: View) -> schemas::View {
    match view {
        View::A4c => schemas::View::A4C,
        View::A2c => schemas::View::A2C,
        View::Plax => schemas::View::PLAX,
        View::Psax => schemas::View::PSAX,
        View::Subcostal => schemas::View::Subcostal,
    }
}

/// How far a phantom came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// A stage before the model rejected it, for this reason first.
    Rejected(ReasonCode),
    /// The model's stage has spoken.
    Asked,
}

/// A phantom and what was made of it.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) way: Way,
    /// There where [`Way::Asked`].
    pub(super) findings: Option<FindingsInferred>,
    pub(super) truth_ef: f64,
    pub(super) truth_view: schemas::View,
}

impl Read {
    /// As a calibration takes it; nothing where it was rejected.
    pub(super) fn confirmed(&self) -> Option<ConfirmedStudy> {
        let findings = self.findings.clone()?;
        Some(ConfirmedStudy {
            findings,
            truth_ef: self.truth_ef,
            vendor: None,
            subject: None,
            // A phantom's truth is older than any answer.
            blinded: true,
        })
    }
}

/// The stages before reporting.
pub(super) struct Stages {
    pub(super) gate: QualityGate,
    pub(super) keyframes: Keyframes,
    pub(super) inference: InferenceStage,
}

/// The phantom of `seed` in `group`, read.
pub(super) fn read(group: Group, seed: u64, stages: &mut Stages) -> Result<Read, Failure> {
    let spec = group.spec(seed)?;
    let exam = Exam::make(&spec)?;
    let blobs = MemoryBlobs::default();
    let mut ctx = Ctx::new(&blobs, &exam.files, Timestamp::UNIX_EPOCH, tracing::Span::none());
    let read = |way, findings| Read {
        way,
        findings,
        truth_ef: spec.heart.ef_percent,
        truth_view: schema_view(group.view(seed)),
    };
    let rejected = |rejection: schemas::Rejection| {
        let first = rejection.reasons.into_iter().next().map(|reason| reason.code);
        read(Way::Rejected(first.unwrap_or(const { ReasonCode::known("UNKNOWN") })), None)
    };
    let accepted = match stages.gate.process(&exam.study, &mut ctx)? {
        Outcome::Emit(accepted) => accepted,
        Outcome::Reject(rejection) => return Ok(rejected(rejection)),
    };
    let extracted = match stages.keyframes.process(&accepted, &mut ctx)? {
        Outcome::Emit(extracted) => extracted,
        Outcome::Reject(rejection) => return Ok(rejected(rejection)),
    };
    Ok(match stages.inference.process(&extracted, &mut ctx)? {
        Outcome::Emit(findings) => read(Way::Asked, Some(findings)),
        Outcome::Reject(rejection) => rejected(rejection),
    })
}
