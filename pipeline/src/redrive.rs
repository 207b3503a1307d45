//! Dead letters back to where they came from.
//!
//! ```text
//!   waiting letters ─decide─▶ Duplicate ───────────────────────────────────────┐
//!        │                    NoOrigin   (left as it is)                        │
//!        └▶ read from its .dlq ─┬─ gone ─▶ Lost (left as it is, named)          ▼
//!                               └─ bytes, from quarantine if they are long ─▶ published, acknowledged ─▶ one transaction:
//!                                       key, headers and value as they were        letters settled, studies go on, audit row
//! ```
//!
//! Invariants:
//! - A letter is marked after the broker has acknowledged its record. Killed in between, it is sent again by the next
//!   redrive: the event has the same id, and doing it again changes nothing.
//! - What goes back is byte for byte what died, on the lane it died on; only the `dl_*` headers are gone.
//! - A record that intake could not announce was never on a topic. Its letter holds the manifest that was to be announced,
//!   so it goes to that topic like any other. It works if what it lacked is there by now: the objects in the blob store.
//! - A study that has come to another end since, or that a later revision has overtaken, is left alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use console::site::{DeadLetterRow, Redrive, RedriveRequest, Redriven};
use jiff::Timestamp;
use runtime::{
    Acknowledged, Client, ClientError, Headers, PublishError, Publisher, Record,
    bounded::{BoundedError, BoundedReader, PartitionRange, TopicRange},
};
use schemas::{BlobRef, DeadLetter, DeadLetterPayload, InstanceGated, Message as _};
use serde_json::json;
use services::ObjectBlobs;
use stage::{BlobError, Blobs as _};

use crate::{
    store::{Database, DatabaseError, Redrove, Settled, Waiting, Wanted, settle_letters, waiting_letters},
    system::topics,
};

/// Letters of one redrive at most; whoever has more asks again. Each is some hundred bytes in the answer.
const AT_ONCE: i64 = 10_000;
/// How long the broker may take to acknowledge a record.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// Longer than any record that a broker with common limits has taken.
const LONGEST_RECORD: &str = "16000000";

/// Why a redrive stopped. What was sent before is marked and audited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedriveError {
    /// Letters cannot be listed or marked.
    #[error("dead letters cannot be listed or marked")]
    Database(#[from] DatabaseError),
    /// Letters cannot be read.
    #[error("dead letters cannot be read")]
    Read(#[from] BoundedError),
    /// No client to send with.
    #[error("dead letters cannot be sent")]
    Client(#[from] ClientError),
    /// The broker did not take one.
    #[error("a dead letter was not taken by its origin")]
    Publish(#[from] PublishError),
    /// The quarantine does not answer.
    #[error("the quarantine does not answer")]
    Blobs(#[from] BlobError),
}

/// What a redrive works with.
pub(crate) struct Redriver<'a> {
    pub(crate) client: &'a Client,
    pub(crate) database: &'a Database,
    pub(crate) blobs: &'a Arc<ObjectBlobs>,
}

/// The lanes of every topic of ours.
fn origins() -> HashSet<String> {
    topics().iter().flat_map(|topic| [topic.name.to_owned(), topic.urgent()]).collect()
}

fn provisional() -> [String; 2] {
    [InstanceGated::TOPIC.name.to_owned(), InstanceGated::TOPIC.urgent()]
}

/// What becomes of each letter as far as the store alone can tell: `Sent` is what is to be read and sent.
fn decide(letters: &[Waiting]) -> Vec<Redrive> {
    let (origins, provisional) = (origins(), provisional());
    let dead_letter_topics: HashSet<String> = topics().iter().map(schemas::Topic::dead_letters).collect();
    let mut events = HashSet::new();
    let each = letters.iter().map(|letter| {
        let row = &letter.row;
        if !origins.contains(&row.topic) || !dead_letter_topics.contains(&row.dlq_topic) {
            return Redrive::NoOrigin;
        }
        let waits =
            letter.state.as_deref().is_none_or(|state| matches!(state, "dead_lettered" | "in_progress"));
        let concerns_no_study = provisional.contains(&row.topic);
        if letter.went_back || (!concerns_no_study && (letter.overtaken || !waits)) {
            return Redrive::Duplicate;
        }
        // The same event may have died twice for one consumer: delivered again, or sent again by its producer.
        match letter.event {
            Some(event) if !events.insert((event, row.stage.clone())) => Redrive::Duplicate,
            _ => Redrive::Sent,
        }
    });
    each.collect()
}

impl Redriver<'_> {
    /// Sends the letters that `request` names back, or says what would become of them.
    pub(crate) fn run(&self, request: &RedriveRequest) -> Result<Redriven, RedriveError> {
        let RedriveRequest { topic, cause, one, dry_run, by } = request.clone();
        let wanted = Wanted { topic: topic.clone(), cause: cause.clone(), one: one.clone(), limit: AT_ONCE };
        let letters = waiting_letters(self.database, wanted)?;
        let mut outcomes = decide(&letters);
        let mut sent = BTreeMap::new();
        let publisher = if dry_run { None } else { Some(self.publisher()?) };
        let stopped = self.send(&letters, &mut outcomes, publisher.as_ref(), &mut sent);
        let settled: Vec<Settled> = letters
            .iter()
            .enumerate()
            .filter(|(index, _)| {
                sent.contains_key(index) || outcomes.get(*index) == Some(&Redrive::Duplicate)
            })
            .map(|(index, letter)| Settled {
                topic: letter.row.topic.clone(),
                origin: letter.origin,
                stage: letter.row.stage.clone(),
                lies: sent.get(&index).map(|place| (place.partition, place.offset)),
            })
            .collect();
        let mut audit_id = None;
        if !dry_run && !settled.is_empty() {
            let counted = |what| outcomes.iter().filter(|outcome| **outcome == what).count();
            let detail = json!({
                "sent": sent.len(),
                "duplicate": counted(Redrive::Duplicate),
                "lost": counted(Redrive::Lost),
                "no_origin": counted(Redrive::NoOrigin),
                "cause": cause,
                "one": one,
                "complete": stopped.is_ok(),
            });
            let subject = topic.unwrap_or_else(|| "every topic".to_owned());
            let provisional = provisional().to_vec();
            let redrove = Redrove { settled, provisional, by, subject, detail, at: Timestamp::now() };
            audit_id = Some(settle_letters(self.database, redrove)?);
        }
        stopped?;
        let mut answer: Vec<(DeadLetterRow, Redrive)> =
            letters.into_iter().map(|letter| letter.row).zip(outcomes).collect();
        // Newest first, as the list of dead letters is.
        answer.reverse();
        Ok(Redriven { letters: answer, audit_id })
    }

    fn publisher(&self) -> Result<Publisher, ClientError> {
        let mut client = self.client.clone();
        client.properties.insert("message.max.bytes".to_owned(), LONGEST_RECORD.to_owned());
        Publisher::connect(&client, ACKNOWLEDGE)
    }

    /// Reads the letters to be sent, partition by partition, and sends them; without a publisher it only looks whether
    /// they could be. What is not found becomes `Lost`.
    fn send(
        &self,
        letters: &[Waiting],
        outcomes: &mut [Redrive],
        publisher: Option<&Publisher>,
        sent: &mut BTreeMap<usize, Acknowledged>,
    ) -> Result<(), RedriveError> {
        // Offset by offset of each partition of each dead-letter topic, the letters that lie there.
        let mut places: BTreeMap<(&str, i32), BTreeMap<i64, usize>> = BTreeMap::new();
        for ((index, letter), outcome) in letters.iter().enumerate().zip(outcomes.iter()) {
            if *outcome == Redrive::Sent {
                let row = &letter.row;
                places.entry((&row.dlq_topic, row.dlq_partition)).or_default().insert(row.dlq_offset, index);
            }
        }
        let mut found = BTreeSet::new();
        let reader = BoundedReader::connect(self.client)?;
        for ((topic, partition), offsets) in &places {
            let (Some((first, _)), Some((last, _))) = (offsets.first_key_value(), offsets.last_key_value())
            else {
                continue;
            };
            let range = PartitionRange { partition: *partition, start: *first, end: last + 1 };
            let range = TopicRange { topic: (*topic).to_owned(), partitions: vec![range] };
            reader.read(&range, |record| {
                let Some((index, letter)) =
                    offsets.get(&record.offset).and_then(|index| Some((*index, letters.get(*index)?)))
                else {
                    return Ok(());
                };
                let Some(payload) = self.original(&record, letter)? else { return Ok(()) };
                if let Some(publisher) = publisher {
                    let headers = original_headers(&record);
                    let key = record.key.as_deref();
                    let place = publisher.publish_record(&letter.row.topic, key, &headers, &payload)?;
                    sent.insert(index, place);
                }
                found.insert(index);
                Ok::<_, RedriveError>(())
            })?;
        }
        for index in places.values().flat_map(BTreeMap::values) {
            if !found.contains(index)
                && let Some(outcome) = outcomes.get_mut(*index)
            {
                *outcome = Redrive::Lost;
            }
        }
        Ok(())
    }

    /// The bytes that died, if the record is this letter and they are still there.
    fn original(&self, record: &Record, letter: &Waiting) -> Result<Option<Vec<u8>>, RedriveError> {
        let Ok(said) = DeadLetter::from_headers(record.headers.iter()) else { return Ok(None) };
        // Another topic of the same name may hold something else at this place.
        if said.topic != letter.row.topic || (said.partition, said.offset) != letter.origin {
            return Ok(None);
        }
        match said.payload {
            DeadLetterPayload::Embedded => Ok(Some(record.payload.clone())),
            DeadLetterPayload::Quarantined => {
                let Ok(reference) = serde_json::from_slice::<BlobRef>(&record.payload) else {
                    return Ok(None);
                };
                match self.blobs.get(&reference) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(BlobError::NotFound { .. } | BlobError::Mismatch { .. }) => Ok(None),
                    Err(error @ BlobError::Unavailable { .. }) => Err(error.into()),
                }
            }
        }
    }
}

fn original_headers(record: &Record) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in record.headers.iter().filter(|(name, _)| !name.starts_with("dl_")) {
        headers.push(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn letter(topic: &str, event: u128, state: Option<&str>) -> Waiting {
        let row = DeadLetterRow {
            dlq_topic: format!("{}.dlq", topic.trim_end_matches(".urgent")),
            dlq_partition: 0,
            dlq_offset: 0,
            topic: topic.to_owned(),
            study_uid: state.map(|_| "2.25.1".to_owned()),
            revision: state.map(|_| 1),
            stage: "keyframes".to_owned(),
            cause: "object_missing".to_owned(),
            detail: "why".to_owned(),
            attempts: 1,
            died_at: Timestamp::UNIX_EPOCH,
            redriven_at: None,
        };
        Waiting {
            row,
            origin: (0, 0),
            event: (event > 0).then(|| Uuid::from_u128(event)),
            state: state.map(str::to_owned),
            overtaken: false,
            went_back: false,
        }
    }

    #[test]
    fn only_what_still_waits_and_once_each_goes_back() {
        let accepted = "study.accepted.v1";
        let dead = Some("dead_lettered");
        let overtaken = Waiting { overtaken: true, ..letter(accepted, 6, dead) };
        let went_back = Waiting { went_back: true, ..letter(accepted, 7, dead) };
        let word = Waiting { overtaken: true, ..letter("instance.gated.v1", 8, Some("reported")) };
        let strange = letter("somebody.else.v1", 9, None);
        let cases = [
            (letter(accepted, 1, dead), Redrive::Sent),
            (letter("study.accepted.v1.urgent", 2, dead), Redrive::Sent),
            (letter(accepted, 1, dead), Redrive::Duplicate),
            (letter(accepted, 3, Some("reported")), Redrive::Duplicate),
            (letter(accepted, 4, Some("superseded")), Redrive::Duplicate),
            (letter(accepted, 5, Some("in_progress")), Redrive::Sent),
            (overtaken, Redrive::Duplicate),
            (went_back, Redrive::Duplicate),
            (word, Redrive::Sent),
            (strange, Redrive::NoOrigin),
            // Bytes that name no event are all different.
            (letter(accepted, 0, None), Redrive::Sent),
            (letter(accepted, 0, None), Redrive::Sent),
        ];
        let letters: Vec<Waiting> = cases.iter().map(|(letter, _)| letter.clone()).collect();
        let expected: Vec<Redrive> = cases.iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(decide(&letters), expected);
    }
}
