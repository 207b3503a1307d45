//! From rows to tables: every write is harmless when done again.

use jiff::{SignedDuration, Timestamp};
use postgres::{Transaction, types::Json};
use schemas::{
    DeadLetter, Digest, FindingsInferred, GatedInstance, Inference, InstanceGated, ReportIssued, RunId,
    StudyAcquired, StudyRejected,
};

use super::heartbeats;
use super::row::{Effect, Event, Place, Row, Subject, deciding_code, is_provisional};
use crate::word::word;

/// Run, study and revision.
type Key<'a> = (&'a str, &'a str, i32);

/// Sender of instances that came as files.
const FOLDER: &str = "folder";
/// How long provisional words are kept: they are for the people at the machine, today and perhaps tomorrow. A large
/// hospital makes some 100,000 a day.
const KEEP_GATES: SignedDuration = SignedDuration::from_hours(48);

/// What clinical records did while one batch was written, to be counted after its commit.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Records that came again.
    pub(super) suppressed: u64,
    /// Records that came with another payload than the one stored.
    pub(super) divergent: u64,
    /// Studies the gate accepted.
    pub(super) accepted: u64,
    /// Reports stored: their certainty, and why those abstain that do.
    pub(super) reports: Vec<(String, Option<String>)>,
    /// Widths of their intervals.
    pub(super) intervals: Vec<f64>,
    /// Why the gate rejected studies: the codes that decided.
    pub(super) rejections: Vec<String>,
    /// Instances of the studies accepted or rejected.
    pub(super) gated: Vec<GatedInstance>,
    /// Keyframes of each clip.
    pub(super) keyframes: Vec<usize>,
    /// Shares of the model's askings that agree with its answers.
    pub(super) confidence: Vec<f64>,
    /// Reports stored with an interval, and of which run: what the drift monitors look at.
    pub(super) calibrated: Vec<(RunId, ReportIssued)>,
    /// Revisions that reached a terminal state.
    pub(super) ended: Vec<Ended>,
}

/// A revision that reached a terminal state.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: &'static str,
    /// Its lane and the seconds since intake closed it; absent while only a stub is known.
    pub(super) took: Option<(String, f64)>,
}

impl Row {
    pub(super) fn write(
        &self,
        sql: &mut Transaction<'_>,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Result<(), postgres::Error> {
        // What the system asks of itself is stored and not counted.
        let mut aside = Tally::default();
        let tally = if self.is_clinical() { tally } else { &mut aside };
        match self {
            Self::Event { event, effect } => {
                let delivery = event.write(sql, now, tally)?;
                heartbeats::note(sql, event.subject.key().1, &event.blobs, now)?;
                ensure_study(sql, event.subject.key(), now, tally)?;
                match effect {
                    Effect::Received(acquired) => receive(sql, event, acquired),
                    Effect::Accepted(instances) => {
                        if delivery == Delivery::First {
                            tally.accepted += 1;
                            tally.gated.extend_from_slice(instances);
                        }
                        Ok(())
                    }
                    Effect::Extracted(keyframes) => {
                        if delivery == Delivery::First {
                            tally.keyframes.extend_from_slice(keyframes);
                        }
                        Ok(())
                    }
                    Effect::Nothing => Ok(()),
                    Effect::Inferred(findings) => keep_findings(sql, event, findings, delivery, tally),
                    Effect::Reported(report) => issue(sql, event, report, delivery, now, tally),
                    Effect::Rejected(rejected) => reject(sql, event, rejected, delivery, now, tally),
                }
            }
            Self::Gated { subject, gate, digest } => keep_gate(sql, subject, gate, *digest, now, tally),
            Self::Dead { letter, subject, place } => bury(sql, letter, subject.as_ref(), place, now, tally),
        }
    }
}

/// Whether the store has seen an event before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    First,
    Again,
}

impl Event {
    /// Writes the timeline's row.
    fn write(
        &self,
        sql: &mut Transaction<'_>,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Result<Delivery, postgres::Error> {
        let (run, study, revision) = self.subject.key();
        let envelope = &self.subject.envelope;
        let digest = self.digest.to_string();
        let row = sql.query_one(
            "INSERT INTO prescreen.study_events (run_id, event_id, month, study_uid, revision, topic, source, happened_at,
                stored_at, summary, payload_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (run_id, event_id, month) DO UPDATE SET deliveries = study_events.deliveries + 1
             RETURNING deliveries, payload_sha256",
            &[
                &run, &envelope.id.0, &self.month, &study, &revision, &self.topic, &envelope.source, &envelope.time,
                &now, &self.summary, &digest,
            ],
        )?;
        if row.get::<_, i32>(0) == 1 {
            return Ok(Delivery::First);
        }
        tally.suppressed += 1;
        tally.divergent += u64::from(row.get::<_, String>(1) != digest);
        Ok(Delivery::Again)
    }
}

/// Makes the study's row at the first word of it, whatever topic that comes from: topics arrive in any order.
///
/// A revision that was overtaken before is born superseded, and a new one supersedes the older ones that are unfinished.
fn ensure_study(
    sql: &mut Transaction<'_>,
    (run, study, revision): Key<'_>,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let born = sql.query_opt(
        "INSERT INTO prescreen.studies (run_id, study_uid, revision, state, reason, first_seen_at, terminal_at)
         SELECT $1::text, $2::text, $3::integer, CASE WHEN late THEN 'superseded' ELSE 'in_progress' END,
            CASE WHEN late THEN 'SUPERSEDED' END, $4::timestamptz, CASE WHEN late THEN $4::timestamptz END
         FROM (SELECT EXISTS (SELECT FROM prescreen.studies
            WHERE run_id = $1::text AND study_uid = $2::text AND revision > $3::integer) AS late) AS order_of_arrival
         ON CONFLICT DO NOTHING RETURNING state = 'superseded'",
        &[&run, &study, &revision, &now],
    )?;
    let Some(born) = born else { return Ok(()) };
    let superseded = || Ended { state: "superseded", took: None };
    if born.get(0) {
        tally.ended.push(superseded());
        return Ok(());
    }
    let older = sql.execute(
        "UPDATE prescreen.studies SET state = 'superseded', reason = 'SUPERSEDED', terminal_at = $4
         WHERE run_id = $1 AND study_uid = $2 AND revision < $3 AND state = 'in_progress'",
        &[&run, &study, &revision, &now],
    )?;
    tally.ended.extend((0..older).map(|_| superseded()));
    Ok(())
}

/// Fills in what only `study.acquired` tells.
fn receive(
    sql: &mut Transaction<'_>,
    event: &Event,
    acquired: &StudyAcquired,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = event.subject.key();
    let head = &acquired.study;
    sql.execute(
        "UPDATE prescreen.studies SET domain = $4, synthetic = $5, priority = $6, instances = $7, received_at = $8
         WHERE run_id = $1 AND study_uid = $2 AND revision = $3 AND received_at IS NULL",
        &[
            &run, &study, &revision, &word(head.domain), &head.synthetic, &word(head.priority),
            &(acquired.instances.len() as i32), &acquired.completion.closed_at,
        ],
    )?;
    Ok(())
}

fn issue(
    sql: &mut Transaction<'_>,
    event: &Event,
    report: &ReportIssued,
    delivery: Delivery,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = event.subject.key();
    let envelope = &event.subject.envelope;
    let certainty = word(report.certainty);
    let abstention = report.abstention.as_ref().map(ToString::to_string);
    let ef = report.ef.as_ref().map(|ef| ef.percent);
    let digest = event.digest.to_string();
    let written = sql.execute(
        "INSERT INTO prescreen.reports (run_id, study_uid, revision, event_id, issued_at, certainty, abstention,
            ef_percent, status, report, payload_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
        &[
            &run, &study, &revision, &envelope.id.0, &envelope.time, &certainty, &abstention, &ef, &word(report.status),
            &Json(report), &digest,
        ],
    )?;
    if written == 0 {
        if delivery == Delivery::First {
            let other = "SELECT payload_sha256 <> $4 FROM prescreen.reports
                WHERE run_id = $1 AND study_uid = $2 AND revision = $3";
            let other: bool = sql.query_one(other, &[&run, &study, &revision, &digest])?.get(0);
            tally.divergent += u64::from(other);
        }
    } else {
        if let Inference::Answer(answer) = &report.inference {
            for finding in &answer.findings {
                sql.execute(
                    "INSERT INTO prescreen.findings (run_id, study_uid, revision, code) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING",
                    &[&run, &study, &revision, &finding.code.as_str()],
                )?;
            }
        }
        tally.reports.push((certainty.clone(), abstention.clone()));
        tally.intervals.extend(report.ef.as_ref().and_then(|ef| ef.interval).map(|[low, high]| high - low));
        if report.calibration.is_some() {
            tally.calibrated.push((envelope.run.clone(), report.clone()));
        }
    }
    end_study(sql, event.subject.key(), ("reported", &abstention.unwrap_or(certainty)), now, tally)
}

/// Keeps what the model said, for a calibration; the first answer stands.
fn keep_findings(
    sql: &mut Transaction<'_>,
    event: &Event,
    findings: &FindingsInferred,
    delivery: Delivery,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = event.subject.key();
    let envelope = &event.subject.envelope;
    let digest = event.digest.to_string();
    let written = sql.execute(
        "INSERT INTO prescreen.inferences (run_id, study_uid, revision, event_id, inferred_at, findings, payload_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        &[&run, &study, &revision, &envelope.id.0, &envelope.time, &Json(findings), &digest],
    )?;
    if written > 0
        && let Some(evidence) = findings.evidence.as_ref().filter(|evidence| evidence.askings > 0)
    {
        tally.confidence.push(f64::from(evidence.agreeing) / f64::from(evidence.askings));
    }
    if written == 0 && delivery == Delivery::First {
        let other = "SELECT payload_sha256 <> $4 FROM prescreen.inferences
            WHERE run_id = $1 AND study_uid = $2 AND revision = $3";
        let other: bool = sql.query_one(other, &[&run, &study, &revision, &digest])?.get(0);
        tally.divergent += u64::from(other);
    }
    Ok(())
}

fn reject(
    sql: &mut Transaction<'_>,
    event: &Event,
    rejected: &StudyRejected,
    delivery: Delivery,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, revision) = event.subject.key();
    let envelope = &event.subject.envelope;
    let code = deciding_code(rejected);
    let digest = event.digest.to_string();
    let written = sql.execute(
        "INSERT INTO prescreen.rejections (run_id, study_uid, revision, event_id, stage, code, rejected_at, rejection,
            payload_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        &[
            &run, &study, &revision, &envelope.id.0, &rejected.stage, &code, &envelope.time,
            &Json(&rejected.rejection), &digest,
        ],
    )?;
    if written > 0 {
        tally.rejections.push(code.clone());
        tally.gated.extend_from_slice(&rejected.rejection.instances);
    }
    if written == 0 && delivery == Delivery::First {
        let other = "SELECT payload_sha256 <> $4 FROM prescreen.rejections
            WHERE run_id = $1 AND study_uid = $2 AND revision = $3";
        let other: bool = sql.query_one(other, &[&run, &study, &revision, &digest])?.get(0);
        tally.divergent += u64::from(other);
    }
    end_study(sql, event.subject.key(), ("rejected", &code), now, tally)
}

/// Keeps a word on an instance; the first one for the same bytes stands. What is too old goes.
fn keep_gate(
    sql: &mut Transaction<'_>,
    subject: &Subject,
    gate: &InstanceGated,
    digest: Digest,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let (run, study, _) = subject.key();
    let (instance, blob) = (gate.instance.instance_uid.as_str(), gate.instance.blob.sha256.to_string());
    let digest = digest.to_string();
    let written = sql.execute(
        "INSERT INTO prescreen.instance_gates (run_id, study_uid, instance_uid, blob_sha256, event_id, sender,
            received_at, gated_at, stored_at, gate, payload_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
        &[
            &run, &study, &instance, &blob, &subject.envelope.id.0,
            &gate.received_from.ae_title.as_deref().unwrap_or(FOLDER), &gate.received_at, &subject.envelope.time, &now,
            &Json(gate), &digest,
        ],
    )?;
    if written == 0 {
        let other = "SELECT payload_sha256 <> $5 FROM prescreen.instance_gates
            WHERE run_id = $1 AND study_uid = $2 AND instance_uid = $3 AND blob_sha256 = $4";
        let other: bool = sql.query_one(other, &[&run, &study, &instance, &blob, &digest])?.get(0);
        tally.suppressed += 1;
        tally.divergent += u64::from(other);
    }
    let oldest = now.checked_sub(KEEP_GATES).unwrap_or(Timestamp::UNIX_EPOCH);
    sql.execute("DELETE FROM prescreen.instance_gates WHERE received_at < $1", &[&oldest])?;
    Ok(())
}

/// Moves a study into a terminal state. Only `in_progress` and, by redrive, `dead_lettered` move.
fn end_study(
    sql: &mut Transaction<'_>,
    (run, study, revision): Key<'_>,
    (state, reason): (&'static str, &str),
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let ended = sql.query_opt(
        "UPDATE prescreen.studies SET state = $4, reason = $5, terminal_at = $6
         WHERE run_id = $1 AND study_uid = $2 AND revision = $3
            AND (state = 'in_progress' OR (state = 'dead_lettered' AND $4 <> 'dead_lettered'))
         RETURNING priority, extract(epoch FROM terminal_at - received_at)::float8",
        &[&run, &study, &revision, &state, &reason, &now],
    )?;
    tally.ended.extend(ended.map(|row| {
        let priority: Option<String> = row.get(0);
        let seconds: Option<f64> = row.get(1);
        Ended { state, took: priority.zip(seconds) }
    }));
    Ok(())
}

fn bury(
    sql: &mut Transaction<'_>,
    letter: &DeadLetter,
    subject: Option<&Subject>,
    place: &Place,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), postgres::Error> {
    let key = subject.map(Subject::key);
    let (run, study, revision) = (key.map(|key| key.0), key.map(|key| key.1), key.map(|key| key.2));
    let written = sql.execute(
        "INSERT INTO prescreen.dead_letters (topic, partition, \"offset\", run_id, study_uid, revision, stage, cause, detail,
            attempts, died_at, dlq_topic, dlq_partition, dlq_offset, event_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
        &[
            &letter.topic, &letter.partition, &letter.offset, &run, &study, &revision, &letter.stage, &letter.cause.as_str(),
            &letter.detail, &i32::try_from(letter.attempts).unwrap_or(i32::MAX), &letter.time, &place.topic,
            &place.partition, &place.offset, &subject.map(|subject| subject.envelope.id.0),
        ],
    )?;
    if written == 0 {
        // Its study ended in the transaction that wrote the row, and may have gone on by a redrive since.
        tally.suppressed += 1;
        return Ok(());
    }
    let Some(key) = key.filter(|_| !is_provisional(&letter.topic)) else { return Ok(()) };
    ensure_study(sql, key, now, tally)?;
    end_study(sql, key, ("dead_lettered", letter.cause.as_str()), now, tally)
}
