//! A real stage whose step is given by the test.

use std::{sync::Arc, time::Duration};

use runtime::MakeConfig;
use schemas::{
    Bilingual, Digest, Message, ReasonCode, Rejection, RejectionReason, StudyAccepted, StudyAcquired, Verdict,
};
use serde::Deserialize;
use stage::{BatchLimits, ConfigError, Ctx, MemoKey, Outcome, Services, Stage, StageError};

pub(crate) type Step =
    dyn Fn(&StudyAcquired, &mut Ctx<'_>) -> Result<Outcome<StudyAccepted>, StageError> + Send + Sync;

#[derive(Clone, Deserialize)]
pub(crate) struct Script {
    #[serde(skip)]
    pub(crate) step: Option<Arc<Step>>,
    #[serde(skip)]
    pub(crate) batch: Option<BatchLimits>,
    pub(crate) memo: bool,
}

impl Script {
    pub(crate) fn new(
        step: impl Fn(&StudyAcquired, &mut Ctx<'_>) -> Result<Outcome<StudyAccepted>, StageError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { step: Some(Arc::new(step)), batch: None, memo: false }
    }

    /// Accepts everything.
    pub(crate) fn accept() -> Self {
        Self::new(|input, _| Ok(accepted(input)))
    }

    pub(crate) fn batch(mut self, items: usize, linger: Duration) -> Self {
        self.batch = Some(BatchLimits { items, cost: u32::MAX, linger });
        self
    }

    pub(crate) fn config(self) -> MakeConfig<Self> {
        Arc::new(move || self.clone())
    }
}

pub(crate) struct Scripted(Script);

impl Stage for Scripted {
    const NAME: &'static str = "scripted";
    type Config = Script;
    type In = StudyAcquired;
    type Out = StudyAccepted;

    fn build(script: Script, _: &Services) -> Result<Self, ConfigError> {
        let expected = "a script with a step".to_owned();
        match script.step {
            Some(_) => Ok(Self(script)),
            None => Err(ConfigError { key: "step", value: "none".to_owned(), expected }),
        }
    }

    fn process(
        &mut self,
        input: &StudyAcquired,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<StudyAccepted>, StageError> {
        let step = self.0.step.clone().ok_or_else(|| StageError::invalid("no step"))?;
        step(input, ctx)
    }

    fn batch_limits(&self) -> BatchLimits {
        self.0.batch.unwrap_or(BatchLimits::ONE)
    }

    fn memo_key(&self, input: &StudyAcquired) -> Option<MemoKey> {
        self.0.memo.then(|| MemoKey(Digest::of(input.study.study_uid.as_str().as_bytes())))
    }
}

pub(crate) fn accepted(input: &StudyAcquired) -> Outcome<StudyAccepted> {
    Outcome::Emit(StudyAccepted {
        study: input.study().clone(),
        verdict: Verdict::Accept,
        instances: Vec::new(),
    })
}

pub(crate) fn rejected() -> Outcome<StudyAccepted> {
    let advice = Bilingual::new("acquire again", "请重新采集");
    let reason = RejectionReason { code: ReasonCode::known("BLUR"), instance_uid: None, advice };
    Outcome::Reject(Rejection { reasons: vec![reason], instances: Vec::new() })
}
