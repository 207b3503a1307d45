//! Dead letters: the list, and what a redrive leaves behind of them.

use console::site::{DeadLetterFilter, DeadLetterRow};
use jiff::Timestamp;
use postgres::{Row, Transaction};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Database, DatabaseError, Role,
    audit::{self, Entry},
};

const COLUMNS: &str = "letters.dlq_topic, letters.dlq_partition, letters.dlq_offset, letters.topic, letters.study_uid,
    letters.revision, letters.stage, letters.cause, letters.detail, letters.attempts, letters.died_at, letters.redriven_at";

/// Those of the live run, and those that name no run: they may be anybody's study.
const OURS: &str = "(letters.run_id IS NULL OR letters.run_id = 'live')";

fn dead_letter(row: &Row) -> DeadLetterRow {
    DeadLetterRow {
        dlq_topic: row.get(0),
        dlq_partition: row.get(1),
        dlq_offset: row.get(2),
        topic: row.get(3),
        study_uid: row.get(4),
        revision: row.get(5),
        stage: row.get(6),
        cause: row.get(7),
        detail: row.get(8),
        attempts: row.get(9),
        died_at: row.get(10),
        redriven_at: row.get(11),
    }
}

/// The topic and its urgent lane.
fn lanes(base: Option<&str>) -> Option<Vec<String>> {
    base.map(|base| vec![base.to_owned(), format!("{base}.urgent")])
}

/// Lists dead letters, the newest first.
pub(crate) fn dead_letters(
    database: &Database,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    let (filter, topics) = (filter.clone(), lanes(filter.topic.as_deref()));
    let limit = i64::from(if filter.limit == 0 { 100 } else { filter.limit });
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            &format!(
                "SELECT {COLUMNS} FROM prescreen.dead_letters AS letters
                 WHERE {OURS} AND ($1::text[] IS NULL OR letters.topic = ANY($1)) AND ($2::text IS NULL OR letters.cause = $2)
                    AND ($3 OR letters.redriven_at IS NULL)
                 ORDER BY letters.died_at DESC, letters.dlq_topic, letters.dlq_partition, letters.dlq_offset DESC LIMIT $4"
            ),
            &[&topics, &filter.cause, &filter.redriven, &limit],
        )?;
        Ok(rows.iter().map(dead_letter).collect())
    })
}

/// Which letters are to go back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Only those of this base topic.
    pub(crate) topic: Option<String>,
    /// Only this cause.
    pub(crate) cause: Option<String>,
    /// Only this one: dead-letter topic, partition, offset.
    pub(crate) one: Option<(String, i32, i64)>,
    /// At most this many, the oldest.
    pub(crate) limit: i64,
}

/// A letter that waits, with what decides whether it may go back.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) row: DeadLetterRow,
    /// Where it was read from, beside the topic.
    pub(crate) origin: (i32, i64),
    /// The event that died; absent where the bytes name none.
    pub(crate) event: Option<Uuid>,
    /// State of its study's revision; absent where it names none.
    pub(crate) state: Option<String>,
    /// A later revision of its study is known.
    pub(crate) overtaken: bool,
    /// The same event went back by another letter after this one had died: to a later place of the same partition. Times
    /// alone do not tell, because what was sent back may die again before it is marked.
    pub(crate) went_back: bool,
}

/// The letters that wait, the oldest first.
pub(crate) fn waiting_letters(database: &Database, wanted: Wanted) -> Result<Vec<Waiting>, DatabaseError> {
    let topics = lanes(wanted.topic.as_deref());
    let (one_topic, one_partition, one_offset) = match wanted.one {
        Some((topic, partition, offset)) => (Some(topic), Some(partition), Some(offset)),
        None => (None, None, None),
    };
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            &format!(
                "SELECT {COLUMNS}, letters.partition, letters.\"offset\", letters.event_id, studies.state,
                    EXISTS (SELECT FROM prescreen.studies AS later WHERE later.run_id = letters.run_id
                        AND later.study_uid = letters.study_uid AND later.revision > letters.revision),
                    EXISTS (SELECT FROM prescreen.dead_letters AS other WHERE other.event_id = letters.event_id
                        AND other.stage = letters.stage AND other.redriven_offset IS NOT NULL
                        AND CASE WHEN other.topic = letters.topic AND other.redriven_partition = letters.partition
                            THEN other.redriven_offset > letters.\"offset\" ELSE other.redriven_at > letters.died_at END)
                 FROM prescreen.dead_letters AS letters
                 LEFT JOIN prescreen.studies ON studies.run_id = letters.run_id AND studies.study_uid = letters.study_uid
                    AND studies.revision = letters.revision
                 WHERE {OURS} AND letters.redriven_at IS NULL AND ($1::text[] IS NULL OR letters.topic = ANY($1))
                    AND ($2::text IS NULL OR letters.cause = $2) AND ($3::text IS NULL OR letters.dlq_topic = $3)
                    AND ($4::integer IS NULL OR letters.dlq_partition = $4) AND ($5::bigint IS NULL OR letters.dlq_offset = $5)
                 ORDER BY letters.died_at, letters.dlq_topic, letters.dlq_partition, letters.dlq_offset LIMIT $6"
            ),
            &[&topics, &wanted.cause, &one_topic, &one_partition, &one_offset, &wanted.limit],
        )?;
        let waiting = |row: &Row| Waiting {
            row: dead_letter(row),
            origin: (row.get(12), row.get(13)),
            event: row.get(14),
            state: row.get(15),
            overtaken: row.get(16),
            went_back: row.get(17),
        };
        Ok(rows.iter().map(waiting).collect())
    })
}

/// A letter that waits no longer.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// Topic, partition and offset it was read from, and who gave up: the key of its row.
    pub(crate) topic: String,
    pub(crate) origin: (i32, i64),
    pub(crate) stage: String,
    /// Where it lies again; nothing where it needed not go back.
    pub(crate) lies: Option<(i32, i64)>,
}

/// What is written of a redrive.
pub(crate) struct Redrove {
    pub(crate) settled: Vec<Settled>,
    /// Topics whose letters decide nothing about a study.
    pub(crate) provisional: Vec<String>,
    /// Who.
    pub(crate) by: String,
    /// What was redriven, for the audit log.
    pub(crate) subject: String,
    pub(crate) detail: Value,
    pub(crate) at: Timestamp,
}

/// Marks letters as settled, lets the studies go on of which no letter waits any more, and records who did it: all of it
/// or nothing. Returns the row of the audit log.
pub(crate) fn settle_letters(database: &Database, redrove: Redrove) -> Result<i64, DatabaseError> {
    database.write(Role::App, move |sql| {
        mark(sql, &redrove)?;
        let Redrove { by, subject, detail, at, .. } = &redrove;
        let entry =
            Entry { actor: by, action: "dead_letters.redrive", subject, detail: detail.clone(), at: *at };
        audit::append(sql, &entry)
    })
}

fn mark(sql: &mut Transaction<'_>, redrove: &Redrove) -> Result<(), postgres::Error> {
    let settled = &redrove.settled;
    let topics: Vec<&str> = settled.iter().map(|letter| letter.topic.as_str()).collect();
    let partitions: Vec<i32> = settled.iter().map(|letter| letter.origin.0).collect();
    let offsets: Vec<i64> = settled.iter().map(|letter| letter.origin.1).collect();
    let stages: Vec<&str> = settled.iter().map(|letter| letter.stage.as_str()).collect();
    let lies_in: Vec<Option<i32>> = settled.iter().map(|letter| letter.lies.map(|lies| lies.0)).collect();
    let lies_at: Vec<Option<i64>> = settled.iter().map(|letter| letter.lies.map(|lies| lies.1)).collect();
    let marked = sql.query(
        "UPDATE prescreen.dead_letters AS letters SET redriven_at = $1,
            redrives = letters.redrives + CASE WHEN settled.lies_in IS NULL THEN 0 ELSE 1 END,
            redriven_partition = settled.lies_in, redriven_offset = settled.lies_at
         FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::text[], $6::integer[], $7::bigint[])
            AS settled (topic, partition, \"offset\", stage, lies_in, lies_at)
         WHERE letters.topic = settled.topic AND letters.partition = settled.partition
            AND letters.\"offset\" = settled.\"offset\" AND letters.stage = settled.stage AND letters.redriven_at IS NULL
         RETURNING letters.run_id, letters.study_uid, letters.revision",
        &[&redrove.at, &topics, &partitions, &offsets, &stages, &lies_in, &lies_at],
    )?;
    let (mut runs, mut studies, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    for row in &marked {
        let (run, study): (Option<String>, Option<String>) = (row.get(0), row.get(1));
        if let (Some(run), Some(study), Some(revision)) = (run, study, row.get::<_, Option<i32>>(2)) {
            runs.push(run);
            studies.push(study);
            revisions.push(revision);
        }
    }
    // A study may have died again between the sending and now: then a letter waits, and it stays where it is.
    sql.execute(
        "UPDATE prescreen.studies AS one SET
            state = CASE WHEN later.known THEN 'superseded' ELSE 'in_progress' END,
            reason = CASE WHEN later.known THEN 'SUPERSEDED' END,
            terminal_at = CASE WHEN later.known THEN $1::timestamptz END,
            redriven_at = $1
         FROM (SELECT DISTINCT * FROM unnest($2::text[], $3::text[], $4::integer[])) AS key (run_id, study_uid, revision),
            LATERAL (SELECT EXISTS (SELECT FROM prescreen.studies AS later WHERE later.run_id = key.run_id
                AND later.study_uid = key.study_uid AND later.revision > key.revision) AS known) AS later
         WHERE one.run_id = key.run_id AND one.study_uid = key.study_uid AND one.revision = key.revision
            AND one.state = 'dead_lettered'
            AND NOT EXISTS (SELECT FROM prescreen.dead_letters AS waiting WHERE waiting.run_id = key.run_id
                AND waiting.study_uid = key.study_uid AND waiting.revision = key.revision
                AND waiting.redriven_at IS NULL AND waiting.topic <> ALL($5))",
        &[&redrove.at, &runs, &studies, &revisions, &redrove.provisional],
    )?;
    Ok(())
}
