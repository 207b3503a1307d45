//! The pass-through stages, and the topics they stand between.
//!
//! Each topic of the bench carries the message of its namesake in the pipeline, at its real size: the example from
//! `schemas/topics`, with the head of the study that passes. So the work of a hop is real (envelope, decoding,
//! encoding, suspect file, commit) and only the reading of pictures is not there.

use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
    time::Instant,
};

use schemas::{Message, StudyHead, Topic};
use serde::{Deserialize, Serialize};
use stage::{ConfigError, Ctx, Outcome, Services, Stage, StageError};

/// A message on a topic of the bench.
pub(super) trait OnBench: Message {
    /// Name of its topic.
    const NAME: &'static str = Self::TOPIC.name;
    /// Name of the stage that writes it.
    const STEP: &'static str;

    /// What the messages look like.
    fn example() -> serde_json::Result<Self>;
    /// The head of its study.
    fn study_mut(&mut self) -> &mut StudyHead;
}

macro_rules! on_bench {
    ($($name:ident is $message:ident on $topic:literal by $step:literal, like $example:literal;)*) => {$(
        #[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub(super) struct $name(schemas::$message);

        impl Message for $name {
            const TOPIC: Topic = Topic { name: $topic, major: 1, minor: 0 };

            fn study(&self) -> &StudyHead {
                &self.0.study
            }
        }

        impl OnBench for $name {
            const STEP: &'static str = $step;

            fn example() -> serde_json::Result<Self> {
                serde_json::from_str(include_str!(concat!("../../../../../schemas/topics/", $example, ".json")))
            }

            fn study_mut(&mut self) -> &mut StudyHead {
                &mut self.0.study
            }
        }
    )*};
}

on_bench! {
    Acquired is StudyAcquired on "prescreen-bench.acquired.v1" by "bench",
        like "study.acquired.v1/examples/echo_by_association";
    Accepted is StudyAccepted on "prescreen-bench.accepted.v1" by "bench_accept",
        like "study.accepted.v1/examples/one_clip_accepted";
    Extracted is KeyframesExtracted on "prescreen-bench.extracted.v1" by "bench_extract",
        like "keyframes.extracted.v1/examples/one_beat";
    Inferred is FindingsInferred on "prescreen-bench.inferred.v1" by "bench_infer",
        like "findings.inferred.v1/examples/answer";
    Report is ReportIssued on "prescreen-bench.report.v1" by "bench_report",
        like "report.issued.v1/examples/number_with_doubts";
}

/// A stage that reads a study's message and writes the next one.
pub(super) struct Relay<In, Out> {
    next: Out,
    clock: FirstInput,
    input: PhantomData<fn(In)>,
}

/// When the first input reached a carrier.
pub(super) type FirstInput = Arc<OnceLock<Instant>>;

/// The clock a relay starts.
#[derive(Default, Deserialize)]
pub(super) struct RelayConfig {
    #[serde(skip)]
    pub(super) clock: FirstInput,
}

impl<In: OnBench, Out: OnBench> Stage for Relay<In, Out> {
    const NAME: &'static str = Out::STEP;
    type Config = RelayConfig;
    type In = In;
    type Out = Out;

    fn build(config: RelayConfig, _: &Services) -> Result<Self, ConfigError> {
        let next = Out::example().map_err(|error| ConfigError {
            key: "example",
            value: Out::NAME.to_owned(),
            expected: format!("it does not fit its type: {error}"),
        })?;
        Ok(Self { next, clock: config.clock, input: PhantomData })
    }

    fn process(&mut self, input: &In, _: &mut Ctx<'_>) -> Result<Outcome<Out>, StageError> {
        self.clock.get_or_init(Instant::now);
        let mut next = self.next.clone();
        next.study_mut().clone_from(input.study());
        Ok(Outcome::Emit(next))
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Revision, StudyUid};
    use stage::testing::{MemoryBlobs, MemoryFrames, check, ctx};

    use super::*;

    fn pass<In: OnBench, Out: OnBench>(input: In) -> Out {
        let build = || Relay::<In, Out>::build(RelayConfig::default(), &Services::without_model()).unwrap();
        let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
        match check(build, &[input], &mut ctx(&blobs, &frames)).pop() {
            Some(Ok(Outcome::Emit(next))) => next,
            other => panic!("no message came out: {other:?}"),
        }
    }

    #[test]
    fn a_study_keeps_its_head_through_every_relay() {
        let mut first = Acquired::example().unwrap();
        first.study_mut().study_uid = StudyUid::new("2.25.7").unwrap();
        first.study_mut().revision = Revision(3);
        let head = first.study().clone();
        let accepted: Accepted = pass(first);
        let extracted: Extracted = pass(accepted);
        let inferred: Inferred = pass(extracted);
        let report: Report = pass(inferred);
        assert_eq!(*report.study(), head);
    }
}
