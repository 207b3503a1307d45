//! From records to rows.
//!
//! Everything a record can do wrong is found before SQL ([`Row::read`]); what PostgreSQL then still refuses because of the
//! data itself is found by writing the batch's records one by one. What is left is the database's own trouble, and the
//! batch is tried again.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use postgres::Transaction;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use runtime::{Record, Sink};
use schemas::{
    DeadLetter, Digest, Envelope, FindingsInferred, Inference, KeyframesExtracted, Message, ReportIssued,
    StudyAccepted, StudyAcquired, StudyRejected, decode,
};
use stage::{BatchLimits, StageError};

use super::{Database, DatabaseError, Role};

/// What the store counts.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    duplicates_suppressed: IntCounter,
    duplicate_divergent: IntCounter,
    terminal: IntCounterVec,
    accepted: IntCounter,
}

impl StoreMetrics {
    /// Declares the metrics on `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            duplicates_suppressed: IntCounter::new(
                "prescreen_duplicates_suppressed_total",
                "Records that came again and changed nothing.",
            )?,
            duplicate_divergent: IntCounter::new(
                "prescreen_duplicate_divergent_total",
                "Records that came again with another payload; the first one stands.",
            )?,
            terminal: IntCounterVec::new(
                Opts::new("prescreen_studies_terminal_total", "Studies that reached a terminal state."),
                &["state"],
            )?,
            accepted: IntCounter::new("prescreen_studies_accepted_total", "Studies accepted by the gate.")?,
        };
        registry.register(Box::new(metrics.duplicates_suppressed.clone()))?;
        registry.register(Box::new(metrics.duplicate_divergent.clone()))?;
        registry.register(Box::new(metrics.terminal.clone()))?;
        registry.register(Box::new(metrics.accepted.clone()))?;
        Ok(metrics)
    }
}

/// What happened while writing one batch, counted after its commit.
#[derive(Debug, Default, Clone)]
struct Tally {
    suppressed: u64,
    divergent: u64,
    accepted: u64,
    terminal: Vec<&'static str>,
}

/// A record that the store cannot keep. Its text never repeats the payload.
#[derive(Debug, thiserror::Error)]
enum Unstorable {
    #[error("headers are no envelope")]
    Envelope(#[from] schemas::EnvelopeError),
    #[error("payload cannot be read")]
    Payload(#[from] schemas::DecodeError),
    #[error("envelope and payload name different studies or revisions")]
    Contradiction,
    #[error("event time {0} is outside the years 2000 to 2100")]
    Time(Timestamp),
    #[error("payload holds a NUL character, which PostgreSQL cannot store")]
    Nul,
    #[error("database refuses the record's data (SQLSTATE {0})")]
    Data(String),
    #[error("dead letter is malformed")]
    DeadLetter(#[from] schemas::DeadLetterError),
}

/// A record as it will be stored.
#[derive(Debug, Clone)]
enum Row {
    /// Something that happened to a study.
    Event { event: Event, effect: Effect },
    /// A dead record, with its study if the bytes name one.
    Dead { letter: DeadLetter, envelope: Option<Envelope>, place: Place },
}

#[derive(Debug, Clone)]
struct Place {
    topic: String,
    partition: i32,
    offset: i64,
}

#[derive(Debug, Clone)]
struct Event {
    envelope: Envelope,
    topic: String,
    month: Date,
    summary: String,
    digest: Digest,
}

/// What an event changes beside the timeline.
#[derive(Debug, Clone)]
enum Effect {
    Received(Box<StudyAcquired>),
    Accepted,
    Nothing,
    Reported(Box<ReportIssued>),
    Rejected(Box<StudyRejected>),
}

impl Row {
    fn read(record: &Record) -> Result<Self, Unstorable> {
        let headers = || record.headers.iter();
        if record.topic.ends_with(".dlq") {
            let place =
                Place { topic: record.topic.to_string(), partition: record.partition, offset: record.offset };
            let letter = DeadLetter::from_headers(headers())?;
            return Ok(Self::Dead { letter, envelope: Envelope::from_headers(headers()).ok(), place });
        }
        let envelope = Envelope::from_headers(headers())?;
        let base = record.topic.strip_suffix(".urgent").unwrap_or(&*record.topic);
        if memchr_nul(&record.payload) {
            return Err(Unstorable::Nul);
        }
        let (topic, summary, effect) = if base == StudyAcquired::TOPIC.name {
            let message: StudyAcquired = read(record, &envelope)?;
            let summary = format!("received {} instance(s)", message.instances.len());
            (StudyAcquired::TOPIC.name, summary, Effect::Received(Box::new(message)))
        } else if base == StudyAccepted::TOPIC.name {
            let message: StudyAccepted = read(record, &envelope)?;
            let fit = message
                .instances
                .iter()
                .filter(|one| one.applicable && one.verdict != schemas::Verdict::Reject);
            let summary = format!("{} of {} instance(s) fit", fit.count(), message.instances.len());
            (StudyAccepted::TOPIC.name, summary, Effect::Accepted)
        } else if base == KeyframesExtracted::TOPIC.name {
            let message: KeyframesExtracted = read(record, &envelope)?;
            let keyframes: usize = message.clips.iter().map(|clip| clip.keyframes.len()).sum();
            let summary = format!("{keyframes} keyframe(s) of {} clip(s)", message.clips.len());
            (KeyframesExtracted::TOPIC.name, summary, Effect::Nothing)
        } else if base == FindingsInferred::TOPIC.name {
            let message: FindingsInferred = read(record, &envelope)?;
            let summary = match &message.inference {
                Inference::Answer(_) => "model answered".to_owned(),
                Inference::Abstained(abstention) => format!("abstained: {}", abstention.code),
            };
            (FindingsInferred::TOPIC.name, summary, Effect::Nothing)
        } else if base == ReportIssued::TOPIC.name {
            let message: ReportIssued = read(record, &envelope)?;
            (ReportIssued::TOPIC.name, certainty(&message), Effect::Reported(Box::new(message)))
        } else if base == StudyRejected::TOPIC.name {
            let message: StudyRejected = read(record, &envelope)?;
            let summary = format!("rejected by {}: {}", message.stage, deciding_code(&message));
            (StudyRejected::TOPIC.name, summary, Effect::Rejected(Box::new(message)))
        } else {
            // A topic that only a newer stage knows: its event belongs into the timeline all the same.
            (base, "done".to_owned(), Effect::Nothing)
        };
        let day = envelope.time.to_zoned(TimeZone::UTC).date();
        if !(2000..=2100).contains(&day.year()) {
            return Err(Unstorable::Time(envelope.time));
        }
        let event = Event {
            envelope,
            topic: topic.to_owned(),
            month: day.first_of_month(),
            summary,
            digest: Digest::of(&record.payload),
        };
        Ok(Self::Event { event, effect })
    }
}

/// `\u0000` is valid JSON and no valid `jsonb`.
fn memchr_nul(payload: &[u8]) -> bool {
    payload.windows(6).any(|window| window == br"\u0000")
}

fn read<M: Message>(record: &Record, envelope: &Envelope) -> Result<M, Unstorable> {
    let message: M = decode(&record.payload, envelope.major, envelope.minor)?;
    let study = message.study();
    if study.study_uid != envelope.subject || study.revision != envelope.revision {
        return Err(Unstorable::Contradiction);
    }
    Ok(message)
}

fn certainty(report: &ReportIssued) -> String {
    let text =
        serde_json::to_value(report.certainty).ok().and_then(|value| value.as_str().map(str::to_owned));
    text.unwrap_or_default()
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn deciding_code(rejected: &StudyRejected) -> String {
    rejected.rejection.reasons.first().map_or_else(|| "UNKNOWN".to_owned(), |reason| reason.code.to_string())
}

/// The sink that keeps results.
pub(crate) struct StoreWriter {
    database: Database,
    metrics: StoreMetrics,
    /// Months whose partition is known to be there.
    months: BTreeSet<Date>,
}

impl StoreWriter {
    /// A writer on `database`.
    pub(crate) fn new(database: Database, metrics: StoreMetrics) -> Self {
        Self { database, metrics, months: BTreeSet::new() }
    }

    fn store(&mut self, rows: Vec<Row>, places: Vec<Place>) -> Result<(), DatabaseError> {
        let new_months: Vec<Date> =
            rows.iter().filter_map(Row::month).filter(|month| !self.months.contains(month)).collect();
        let ensured = new_months.clone();
        let tally = self.database.write(Role::App, move |transaction| {
            let mut tally = Tally::default();
            let now = Timestamp::now();
            for month in &new_months {
                transaction.execute("SELECT prescreen.ensure_month($1)", &[month])?;
            }
            for row in &rows {
                row.write(transaction, now, &mut tally)?;
            }
            for place in &places {
                transaction.execute(
                    "INSERT INTO prescreen.sink_offsets (topic, partition, next_offset, updated_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (topic, partition) DO UPDATE SET
                        next_offset = GREATEST(sink_offsets.next_offset, EXCLUDED.next_offset), updated_at = EXCLUDED.updated_at",
                    &[&place.topic, &place.partition, &(place.offset + 1), &now],
                )?;
            }
            Ok(tally)
        })?;
        self.months.extend(ensured);
        self.metrics.duplicates_suppressed.inc_by(tally.suppressed);
        self.metrics.duplicate_divergent.inc_by(tally.divergent);
        self.metrics.accepted.inc_by(tally.accepted);
        for state in tally.terminal {
            self.metrics.terminal.with_label_values(&[state]).inc();
        }
        Ok(())
    }
}

impl Sink for StoreWriter {
    fn limits(&self) -> BatchLimits {
        BatchLimits { items: 200, cost: u32::MAX, linger: std::time::Duration::from_millis(20) }
    }

    fn write(&mut self, records: &[Arc<Record>]) -> Vec<Result<(), StageError>> {
        let read: Vec<Result<Row, Unstorable>> = records.iter().map(|record| Row::read(record)).collect();
        let rows: Vec<Row> = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
        let stored = self.store(rows, last_places(records));
        let one_by_one = matches!(&stored, Err(error) if error.blames_data());
        let unavailable = stored.err().filter(|error| !error.blames_data()).map(|error| error.to_string());
        let results = read.into_iter().zip(records).map(|(row, record)| {
            let row = row.map_err(StageError::invalid)?;
            if let Some(reason) = &unavailable {
                return Err(StageError::dependency(reason.clone()));
            }
            if one_by_one {
                self.store(vec![row], last_places(std::slice::from_ref(record))).map_err(
                    |error| match error {
                        DatabaseError::Refused { ref code, .. } if error.blames_data() => {
                            StageError::invalid(Unstorable::Data(code.clone()))
                        }
                        other => StageError::dependency(other),
                    },
                )?;
            }
            Ok(())
        });
        results.collect()
    }
}

/// The last record of each partition in the batch.
fn last_places(records: &[Arc<Record>]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for record in records {
        match places
            .iter_mut()
            .find(|place| place.topic == *record.topic && place.partition == record.partition)
        {
            Some(place) => place.offset = place.offset.max(record.offset),
            None => {
                places.push(Place {
                    topic: record.topic.to_string(),
                    partition: record.partition,
                    offset: record.offset,
                });
            }
        }
    }
    places
}

impl Row {
    fn month(&self) -> Option<Date> {
        match self {
            Self::Event { event, .. } => Some(event.month),
            Self::Dead { .. } => None,
        }
    }

    fn write(
        &self,
        sql: &mut Transaction<'_>,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Result<(), postgres::Error> {
        match self {
            Self::Event { event, effect } => {
                let first = event.write(sql, now, tally)?;
                tally.accepted += u64::from(first && matches!(effect, Effect::Accepted));
                effect.write(sql, event, now, tally)
            }
            Self::Dead { letter, envelope, place } => {
                write_dead(sql, letter, envelope.as_ref(), place, now, tally)
            }
        }
    }
}

impl Event {
    fn keys(&self) -> (&str, &str, i32) {
        let envelope = &self.envelope;
        (envelope.run.as_str(), envelope.subject.as_str(), envelope.revision.0 as i32)
    }

    /// Writes the timeline's row and says whether this was the record's first delivery.
    fn write(
        &self,
        sql: &mut Transaction<'_>,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Result<bool, postgres::Error> {
        let (run, study, revision) = self.keys();
        let digest = self.digest.to_string();
        let row = sql.query_one(
            "INSERT INTO prescreen.study_events (run_id, event_id, month, study_uid, revision, topic, source, happened_at,
                stored_at, summary, payload_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (run_id, event_id, month) DO UPDATE SET deliveries = study_events.deliveries + 1
             RETURNING deliveries, payload_sha256",
            &[
                &run, &self.envelope.id.0, &self.month, &study, &revision, &self.topic, &self.envelope.source,
                &self.envelope.time, &now, &self.summary, &digest,
            ],
        )?;
        let first = row.get::<_, i32>(0) == 1;
        tally.suppressed += u64::from(!first);
        tally.divergent += u64::from(row.get::<_, String>(1) != digest);
        Ok(first)
    }
}

impl Effect {
    fn write(
        &self,
        sql: &mut Transaction<'_>,
        event: &Event,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Result<(), postgres::Error> {
        let (run, study, revision) = event.keys();
        match self {
            Self::Received(acquired) => {
                ensure_study(sql, event.keys(), now)?;
                let head = &acquired.study;
                sql.execute(
                    "UPDATE prescreen.studies SET domain = $4, synthetic = $5, priority = $6, instances = $7, received_at = $8
                     WHERE run_id = $1 AND study_uid = $2 AND revision = $3 AND received_at IS NULL",
                    &[
                        &run, &study, &revision, &word(head.domain), &head.synthetic, &word(head.priority),
                        &(acquired.instances.len() as i32), &acquired.completion.closed_at,
                    ],
                )?;
                supersede_older(sql, event.keys(), now, tally)
            }
            Self::Accepted | Self::Nothing => ensure_study(sql, event.keys(), now),
            Self::Reported(report) => {
                ensure_study(sql, event.keys(), now)?;
                let json = serde_json::to_value(report).unwrap_or_default();
                let abstention = report.abstention.as_ref().map(ToString::to_string);
                let ef = report.ef.as_ref().map(|ef| ef.percent);
                sql.execute(
                    "INSERT INTO prescreen.reports (run_id, study_uid, revision, event_id, issued_at, certainty, abstention,
                        ef_percent, status, report, payload_sha256)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
                    &[
                        &run, &study, &revision, &event.envelope.id.0, &event.envelope.time, &certainty(report), &abstention,
                        &ef, &word(report.status), &json, &event.digest.to_string(),
                    ],
                )?;
                if let Inference::Answer(answer) = &report.inference {
                    for finding in &answer.findings {
                        sql.execute(
                            "INSERT INTO prescreen.findings (run_id, study_uid, revision, code) VALUES ($1, $2, $3, $4)
                             ON CONFLICT DO NOTHING",
                            &[&run, &study, &revision, &finding.code.as_str()],
                        )?;
                    }
                }
                let reason = abstention.unwrap_or_else(|| certainty(report));
                end_study(sql, event.keys(), ("reported", &reason), now, tally)
            }
            Self::Rejected(rejected) => {
                ensure_study(sql, event.keys(), now)?;
                let code = deciding_code(rejected);
                let json = serde_json::to_value(&rejected.rejection).unwrap_or_default();
                sql.execute(
                    "INSERT INTO prescreen.rejections (run_id, study_uid, revision, event_id, stage, code, rejected_at, rejection,
                        payload_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
                    &[
                        &run, &study, &revision, &event.envelope.id.0, &rejected.stage, &code, &event.envelope.time, &json,
                        &event.digest.to_string(),
                    ],
                )?;
                end_study(sql, event.keys(), ("rejected", &code), now, tally)
            }
        }
    }
}

/// Makes the study's row if its `study.acquired` has not come yet.
fn ensure_study(
    sql: &mut Transaction<'_>,
    key: (&str, &str, i32),
    now: Timestamp,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = key;
    sql.execute(
        "INSERT INTO prescreen.studies (run_id, study_uid, revision, state, first_seen_at)
         SELECT $1, $2, $3, CASE WHEN EXISTS (SELECT FROM prescreen.studies
             WHERE run_id = $1 AND study_uid = $2 AND revision > $3) THEN 'superseded' ELSE 'in_progress' END, $4
         ON CONFLICT DO NOTHING",
        &[&run, &study, &revision, &now],
    )?;
    Ok(())
}

/// Ends the unfinished older revisions of a study.
fn supersede_older(
    sql: &mut Transaction<'_>,
    key: (&str, &str, i32),
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = key;
    let ended = sql.execute(
        "UPDATE prescreen.studies SET state = 'superseded', reason = 'SUPERSEDED', terminal_at = $4
         WHERE run_id = $1 AND study_uid = $2 AND revision < $3 AND state = 'in_progress'",
        &[&run, &study, &revision, &now],
    )?;
    tally.terminal.extend((0..ended).map(|_| "superseded"));
    Ok(())
}

/// Moves a study into a terminal state. Only `in_progress` and, by redrive, `dead_lettered` move.
fn end_study(
    sql: &mut Transaction<'_>,
    key: (&str, &str, i32),
    (state, reason): (&'static str, &str),
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = key;
    let ended = sql.execute(
        "UPDATE prescreen.studies SET state = $4, reason = $5, terminal_at = $6
         WHERE run_id = $1 AND study_uid = $2 AND revision = $3
           AND (state = 'in_progress' OR (state = 'dead_lettered' AND $4 <> 'dead_lettered'))",
        &[&run, &study, &revision, &state, &reason, &now],
    )?;
    tally.terminal.extend((0..ended).map(|_| state));
    Ok(())
}

fn write_dead(
    sql: &mut Transaction<'_>,
    letter: &DeadLetter,
    envelope: Option<&Envelope>,
    place: &Place,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let run = envelope.map(|envelope| envelope.run.as_str());
    let study = envelope.map(|envelope| envelope.subject.as_str());
    let revision = envelope.map(|envelope| envelope.revision.0 as i32);
    let written = sql.execute(
        "INSERT INTO prescreen.dead_letters (topic, partition, \"offset\", run_id, study_uid, revision, stage, cause, detail,
            attempts, died_at, dlq_topic, dlq_partition, dlq_offset)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
        &[
            &letter.topic, &letter.partition, &letter.offset, &run, &study, &revision, &letter.stage, &letter.cause.as_str(),
            &letter.detail, &(letter.attempts as i32), &letter.time, &place.topic, &place.partition, &place.offset,
        ],
    )?;
    tally.suppressed += u64::from(written == 0);
    if let (Some(run), Some(study), Some(revision)) = (run, study, revision) {
        ensure_study(sql, (run, study, revision), now)?;
        end_study(sql, (run, study, revision), ("dead_lettered", letter.cause.as_str()), now, tally)?;
    }
    Ok(())
}
