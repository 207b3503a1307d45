//! What the console, the API and the command line ask.

use console::site::{Arrival, Sender, StateCounts, StudyFilter, StudyRow};
use jiff::{SignedDuration, Timestamp};
use pixels::Identity;
use postgres::{Row, types::Json};
use schemas::{Revision, RunId, StudyUid};

use super::{Database, DatabaseError, Role};

/// Counts the revisions of `run`. `deadline` is `truth.deadline`: older and not terminal is unaccounted.
pub(crate) fn state_counts(
    database: &Database,
    run: &RunId,
    now: Timestamp,
    deadline: SignedDuration,
) -> Result<StateCounts, DatabaseError> {
    let run = run.as_str().to_owned();
    let since = now.checked_sub(deadline).unwrap_or(Timestamp::UNIX_EPOCH);
    database.read(Role::App, move |sql| {
        let row = sql.query_one(
            "SELECT count(*), count(*) FILTER (WHERE state = 'in_progress' AND coalesce(redriven_at, received_at, first_seen_at) >= $2),
                count(*) FILTER (WHERE state = 'reported'), count(*) FILTER (WHERE state = 'rejected'),
                count(*) FILTER (WHERE state = 'dead_lettered'), count(*) FILTER (WHERE state = 'superseded'),
                count(*) FILTER (WHERE state = 'in_progress' AND coalesce(redriven_at, received_at, first_seen_at) < $2)
             FROM prescreen.studies WHERE run_id = $1",
            &[&run, &since],
        )?;
        Ok(StateCounts {
            received: row.get(0),
            in_progress: row.get(1),
            reported: row.get(2),
            rejected: row.get(3),
            dead_lettered: row.get(4),
            superseded: row.get(5),
            unaccounted: row.get(6),
        })
    })
}

const STUDY_COLUMNS: &str =
    "study_uid, revision, state, reason, domain, synthetic, priority, instances, received_at, terminal_at";

fn study_row(row: &Row) -> StudyRow {
    StudyRow {
        study_uid: row.get(0),
        revision: row.get(1),
        state: row.get(2),
        reason: row.get(3),
        domain: row.get(4),
        synthetic: row.get(5),
        priority: row.get(6),
        instances: row.get(7),
        received_at: row.get(8),
        terminal_at: row.get(9),
    }
}

/// Lists revisions of `run`, newest first.
pub(crate) fn studies(
    database: &Database,
    run: &RunId,
    filter: &StudyFilter,
) -> Result<Vec<StudyRow>, DatabaseError> {
    let (run, filter) = (run.as_str().to_owned(), filter.clone());
    let limit = i64::from(if filter.limit == 0 { 100 } else { filter.limit });
    database.read(Role::App, move |sql| {
        let study = filter.study_uid.as_ref().map(StudyUid::as_str);
        let rows = sql.query(
            &format!(
                "SELECT {STUDY_COLUMNS} FROM prescreen.studies WHERE run_id = $1 AND ($2::text IS NULL OR state = $2)
                 AND ($3::text IS NULL OR study_uid = $3) AND ($5::timestamptz IS NULL OR coalesce(received_at, first_seen_at) >= $5)
                 ORDER BY first_seen_at DESC, study_uid, revision DESC LIMIT $4"
            ),
            &[&run, &filter.state, &study, &limit, &filter.since],
        )?;
        Ok(rows.iter().map(study_row).collect())
    })
}

/// Everybody whose instances were gated on arrival in `run`, the latest first.
pub(crate) fn senders(database: &Database, run: &RunId) -> Result<Vec<Sender>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT sender, count(*), max(received_at) AS latest FROM prescreen.instance_gates
             WHERE run_id = $1 GROUP BY sender ORDER BY latest DESC, sender LIMIT 1000",
            &[&run],
        )?;
        let sender =
            |row: &Row| Sender { ae_title: row.get(0), instances: row.get(1), last_received_at: row.get(2) };
        Ok(rows.iter().map(sender).collect())
    })
}

/// The words on the instances of one sender in `run`, newest first, each with the state of its study's latest revision.
pub(crate) fn arrivals(
    database: &Database,
    run: &RunId,
    sender: &str,
    limit: u32,
) -> Result<Vec<Arrival>, DatabaseError> {
    let (run, sender) = (run.as_str().to_owned(), sender.to_owned());
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT gates.gate, gates.gated_at, latest.state, latest.reason FROM prescreen.instance_gates AS gates
             LEFT JOIN LATERAL (SELECT state, reason FROM prescreen.studies
                WHERE studies.run_id = gates.run_id AND studies.study_uid = gates.study_uid
                ORDER BY revision DESC LIMIT 1) AS latest ON true
             WHERE gates.run_id = $1 AND gates.sender = $2
             ORDER BY gates.received_at DESC, gates.instance_uid LIMIT $3",
            &[&run, &sender, &i64::from(limit)],
        )?;
        let arrival = |row: &Row| {
            let Json(gate) = row.try_get(0)?;
            Ok(Arrival { gate, gated_at: row.get(1), study_state: row.get(2), study_reason: row.get(3) })
        };
        rows.iter().map(arrival).collect()
    })
}

/// Where one revision ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TerminalState {
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

/// The terminal state of a revision, if it has one.
pub(crate) fn terminal_state(
    database: &Database,
    run: &RunId,
    study: &StudyUid,
    revision: Revision,
) -> Result<Option<TerminalState>, DatabaseError> {
    let (run, study) = (run.as_str().to_owned(), study.to_string());
    database.read(Role::App, move |sql| {
        let row = sql.query_opt(
            "SELECT state, reason FROM prescreen.studies
             WHERE run_id = $1 AND study_uid = $2 AND revision = $3 AND state <> 'in_progress'",
            &[&run, &study, &(revision.0 as i32)],
        )?;
        Ok(row.map(|row| TerminalState { state: row.get(0), reason: row.get(1) }))
    })
}

/// The report of a revision, as issued.
pub(crate) fn study_report(
    database: &Database,
    run: &RunId,
    study: &StudyUid,
    revision: Revision,
) -> Result<Option<serde_json::Value>, DatabaseError> {
    let (run, study) = (run.as_str().to_owned(), study.to_string());
    database.read(Role::App, move |sql| {
        let row = sql.query_opt(
            "SELECT report FROM prescreen.reports WHERE run_id = $1 AND study_uid = $2 AND revision = $3",
            &[&run, &study, &(revision.0 as i32)],
        )?;
        Ok(row.map(|row| row.get(0)))
    })
}

/// What intake knows of a patient, as raw bytes of the header; written by its own role, read by nobody here.
pub(crate) struct IdentityRow {
    study_uid: String,
    patient_name: Vec<u8>,
    patient_id: Vec<u8>,
    issuer: Vec<u8>,
    birth_date: Vec<u8>,
    accession_number: Vec<u8>,
    character_set: Vec<u8>,
}

impl IdentityRow {
    /// The identity that a header of `study` gives.
    pub(crate) fn of(study: &StudyUid, identity: &Identity) -> Self {
        Self {
            study_uid: study.to_string(),
            patient_name: identity.patient_name.clone(),
            patient_id: identity.patient_id.clone(),
            issuer: identity.issuer_of_patient_id.clone(),
            birth_date: identity.birth_date.clone(),
            accession_number: identity.accession_number.clone(),
            character_set: identity.character_set.clone(),
        }
    }
}

/// Stores the identity of a study; the newest header stands.
pub(crate) fn identity_upsert(
    database: &Database,
    identity: IdentityRow,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    database.write(Role::Identity, move |sql| {
        sql.execute(
            "INSERT INTO prescreen.identity (study_uid, patient_name, patient_id, issuer, birth_date, accession_number,
                character_set, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (study_uid) DO UPDATE SET patient_name = EXCLUDED.patient_name, patient_id = EXCLUDED.patient_id,
                issuer = EXCLUDED.issuer, birth_date = EXCLUDED.birth_date, accession_number = EXCLUDED.accession_number,
                character_set = EXCLUDED.character_set, updated_at = EXCLUDED.updated_at",
            &[
                &identity.study_uid, &identity.patient_name, &identity.patient_id, &identity.issuer,
                &identity.birth_date, &identity.accession_number, &identity.character_set, &now,
            ],
        )?;
        Ok(())
    })
}
