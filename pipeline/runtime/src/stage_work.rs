//! A stage as work: decode, look into the memo, process, encode.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemas::{
    Cause, Class, Envelope, Header, Message, Priority, StudyHead, StudyRejected, decode, encode, event_id,
};
use stage::{BatchLimits, BlobError, Blobs, Ctx, Frames, MemoKey, Outcome, Services, Stage, StageError};

use crate::{
    batcher,
    dead_letter::{Death, chain},
    event::{Failure, Job, Verdict},
    memo::{self, MemoError},
    metrics::{Finished, StageMetrics},
    producer::Output,
    record::Record,
    settings::Memo,
    topics,
    worker::{Hands, Work, failure},
};

/// A heartbeat tells that the way is free. One that waited longer than this tells nothing any more, and an outage's worth of
/// them would keep studies waiting.
const HEARTBEAT_EXPIRY: SignedDuration = SignedDuration::from_mins(10);

/// Makes the stage's configuration, once for each instance.
pub type MakeConfig<C> = Arc<dyn Fn() -> C + Send + Sync>;

pub(crate) struct StageParts<S: Stage> {
    pub(crate) config: MakeConfig<S::Config>,
    pub(crate) services: Services,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) frames: Arc<dyn Frames>,
    pub(crate) memo: Memo,
    pub(crate) metrics: Arc<StageMetrics>,
}

/// The topics of one output, by lane.
struct Lanes {
    urgent: String,
    routine: String,
}

impl Lanes {
    fn of<M: Message>() -> Self {
        let topic = |lane| topics::lane(&M::TOPIC, lane);
        Self { urgent: topic(Priority::Urgent), routine: topic(Priority::Routine) }
    }

    fn get(&self, lane: Priority) -> &str {
        match lane {
            Priority::Urgent => &self.urgent,
            Priority::Routine => &self.routine,
        }
    }
}

pub(crate) struct StageWork<S: Stage> {
    stage: S,
    blobs: Arc<dyn Blobs>,
    frames: Arc<dyn Frames>,
    memo: Memo,
    metrics: Arc<StageMetrics>,
    emits: Lanes,
    rejects: Lanes,
}

/// What the stage answered, with what the output's envelope is made from.
pub(crate) struct Answer<T> {
    outcome: Outcome<T>,
    envelope: Envelope,
    study: StudyHead,
}

/// The key of an input's answer, if it has one, and the answer, if it is remembered.
type Recalled<T> = (Option<MemoKey>, Option<Outcome<T>>);

/// A record opened: its envelope and its message.
pub(crate) struct Opened<T> {
    pub(crate) envelope: Envelope,
    pub(crate) input: T,
}

pub(crate) fn open<M: Message>(record: &Record) -> Result<Opened<M>, Death> {
    let envelope =
        Envelope::from_headers(record.headers.iter()).map_err(|error| Death::invalid(&error.into()))?;
    let wrong = |detail: String| Death { cause: Cause::Envelope, detail, attempts: 1 };
    if envelope.event_type != M::TOPIC.name {
        return Err(wrong(format!("header ce_type is not {}", M::TOPIC.name)));
    }
    let input: M = decode(&record.payload, envelope.major, envelope.minor)
        .map_err(|error| Death::invalid(&error.into()))?;
    if input.study().study_uid != envelope.subject {
        return Err(wrong("header ce_subject is not the study of the message".to_owned()));
    }
    if input.study().revision != envelope.revision {
        return Err(wrong("header prescreen_revision is not the revision of the message".to_owned()));
    }
    Ok(Opened { envelope, input })
}

impl<T> Opened<T> {
    fn is_heartbeat(&self) -> bool {
        self.envelope.class == Class::Heartbeat
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.is_heartbeat() && now.duration_since(self.envelope.time) > HEARTBEAT_EXPIRY
    }
}

impl From<MemoError> for Failure {
    fn from(error: MemoError) -> Self {
        match error {
            MemoError::Blobs(BlobError::Unavailable { .. }) => Self::Dependency(chain(&error)),
            MemoError::Blobs(_) | MemoError::Format { .. } => Self::Record(chain(&error)),
        }
    }
}

impl<S: Stage> StageWork<S> {
    fn recall(&self, opened: &Opened<S::In>) -> Result<Recalled<S::Out>, Failure> {
        let key = match self.memo {
            // A heartbeat that is answered from memory would show that the memory works.
            Memo::On if !opened.is_heartbeat() => self.stage.memo_key(&opened.input),
            Memo::On | Memo::Off => None,
        };
        let Some(key) = key else { return Ok((None, None)) };
        let outcome = memo::recall(self.blobs.as_ref(), key)?;
        if outcome.is_some() {
            self.metrics.memo_hits.inc();
        }
        Ok((Some(key), outcome))
    }

    fn remember(
        &self,
        key: Option<MemoKey>,
        result: Result<Outcome<S::Out>, StageError>,
    ) -> Result<Outcome<S::Out>, Failure> {
        let outcome = result.map_err(failure)?;
        Ok(match key {
            Some(key) => memo::remember(self.blobs.as_ref(), key, outcome)?,
            None => outcome,
        })
    }

    fn process_one(&mut self, opened: &Opened<S::In>) -> Result<Outcome<S::Out>, Failure> {
        let (key, remembered) = self.recall(opened)?;
        if let Some(outcome) = remembered {
            return Ok(outcome);
        }
        let (blobs, frames) = (Arc::clone(&self.blobs), Arc::clone(&self.frames));
        let span = tracing::debug_span!("process", stage = S::NAME);
        let entered = span.clone().entered();
        let mut ctx = Ctx::new(blobs.as_ref(), frames.as_ref(), opened.envelope.time, span);
        let result = self.stage.process(&opened.input, &mut ctx);
        drop(entered);
        self.remember(key, result)
    }

    /// Processes inputs together; their context's time is that of the first.
    fn process_together(&mut self, opened: Vec<&Opened<S::In>>) -> Vec<Result<Outcome<S::Out>, Failure>> {
        let mut results: Vec<Option<Result<Outcome<S::Out>, Failure>>> = Vec::with_capacity(opened.len());
        let mut todo = Vec::new();
        for (index, one) in opened.iter().enumerate() {
            results.push(match self.recall(one) {
                Ok((_, Some(outcome))) => Some(Ok(outcome)),
                Ok((key, None)) => {
                    todo.push((index, key, *one));
                    None
                }
                Err(failure) => Some(Err(failure)),
            });
        }
        let costs: Vec<u32> = todo.iter().map(|(_, _, one)| self.stage.cost(&one.input)).collect();
        for range in batcher::cut(&costs, self.stage.batch_limits()) {
            let batch = todo.get(range).unwrap_or_default();
            let Some((_, _, first)) = batch.first() else { continue };
            let inputs: Vec<S::In> = batch.iter().map(|(_, _, one)| one.input.clone()).collect();
            let (blobs, frames) = (Arc::clone(&self.blobs), Arc::clone(&self.frames));
            let span = tracing::debug_span!("process", stage = S::NAME, records = inputs.len());
            let entered = span.clone().entered();
            let mut ctx = Ctx::new(blobs.as_ref(), frames.as_ref(), first.envelope.time, span);
            let answers = self.stage.process_batch(&inputs, &mut ctx);
            drop(entered);
            let answered = answers.len();
            for ((index, key, _), answer) in batch.iter().zip(answers) {
                let result = self.remember(*key, answer);
                if let Some(slot) = results.get_mut(*index) {
                    *slot = Some(result);
                }
            }
            if answered < batch.len() {
                break;
            }
        }
        let missing = || Err(Failure::Fatal(format!("{} left inputs of a batch unanswered", S::NAME).into()));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }
}

/// Sends what `step` made of the record with envelope `input`.
fn send<M: Message>(
    step: &str,
    job: &Job,
    input: &Envelope,
    message: &M,
    to: &Lanes,
    hands: &mut Hands,
) -> Result<(), Failure> {
    let id = event_id(&input.run, step, &[&input.id.to_string()]);
    // `ce_time` says when this copy was made: what a redelivery may change, and nothing else.
    let mut envelope = Envelope::of(message, id, input.run.clone(), step, Timestamp::now());
    envelope.revision = input.revision;
    envelope.class = input.class;
    envelope.trace = Some(input.trace_of(id));
    let headers: Vec<Header> = envelope.to_headers();
    let headers = headers.iter().map(|header| (header.key.as_str(), header.value.as_slice()));
    let payload = encode(message);
    let key = Some(message.study().study_uid.as_str().as_bytes());
    hands.send(job.ticket, Output { topic: to.get(job.lane), key, headers, payload: &payload })
}

impl<S: Stage> Work for StageWork<S> {
    type Parts = StageParts<S>;
    /// Nothing for a heartbeat that is too old to be worked on.
    type Answer = Option<Answer<S::Out>>;

    fn build(parts: &mut StageParts<S>) -> Result<Self, StageError> {
        let stage =
            S::build((parts.config)(), &parts.services).map_err(|error| StageError::Fatal(error.into()))?;
        Ok(Self {
            stage,
            blobs: Arc::clone(&parts.blobs),
            frames: Arc::clone(&parts.frames),
            memo: parts.memo,
            metrics: Arc::clone(&parts.metrics),
            emits: Lanes::of::<S::Out>(),
            rejects: Lanes::of::<StudyRejected>(),
        })
    }

    fn limits(&self) -> BatchLimits {
        self.stage.batch_limits()
    }

    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Option<Answer<S::Out>>, Failure>> {
        let opened: Vec<Result<Opened<S::In>, Death>> = jobs.iter().map(|job| open(&job.record)).collect();
        let now = Timestamp::now();
        let whole: Vec<&Opened<S::In>> =
            opened.iter().filter_map(|one| one.as_ref().ok()).filter(|one| !one.is_expired(now)).collect();
        let results = match whole.as_slice() {
            [one] => vec![self.process_one(one)],
            _ => self.process_together(whole),
        };
        let mut results = results.into_iter();
        opened
            .into_iter()
            .map(|one| {
                let one = one.map_err(Failure::Dead)?;
                if one.is_expired(now) {
                    return Ok(None);
                }
                let Opened { envelope, input } = one;
                let missing = || Err(Failure::Fatal(format!("{} left an input unanswered", S::NAME).into()));
                let outcome = results.next().unwrap_or_else(missing)?;
                Ok(Some(Answer { outcome, envelope, study: input.study().clone() }))
            })
            .collect()
    }

    fn conclude(&self, job: &Job, answer: Option<Answer<S::Out>>, hands: &mut Hands) -> Verdict {
        let Some(Answer { outcome, envelope, study }) = answer else {
            return Verdict::Done(Finished::Expired);
        };
        let (sent, finished) = match outcome {
            Outcome::Emit(message) => {
                (send(S::NAME, job, &envelope, &message, &self.emits, hands), Finished::Emitted)
            }
            Outcome::Reject(rejection) => {
                let message = StudyRejected { study, stage: S::NAME.to_owned(), rejection };
                (send(S::NAME, job, &envelope, &message, &self.rejects, hands), Finished::Rejected)
            }
        };
        match sent {
            Ok(()) => Verdict::Sent(finished),
            Err(failure) => Verdict::Failed(failure),
        }
    }
}
