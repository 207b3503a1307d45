//! Who changed what: an append-only log in which each row is bound to the one before it.
//!
//! ```text
//!   row n:   id  at  actor  action  subject  detail  previous_hash ──▶ SHA-256 ──▶ hash
//!   row n+1:                                        previous_hash = hash of row n …   audit_head = the last row
//! ```
//!
//! Invariants:
//! - A row is written in the transaction of what it records: both are there, or neither.
//! - One row after the other, under an advisory lock: ids have no gaps, and there is one chain.
//! - An edited row does not fit its hash, a deleted one leaves a gap, a cut end misses the head. Whoever can write every
//!   table can forge a whole chain: each new head is logged, for a log that is kept elsewhere.

use jiff::{Timestamp, Unit};
use postgres::{Row, Transaction, types::Json};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Database, DatabaseError, Role};

/// Rows checked in one read, so that a long log does not keep others from the database.
const AT_ONCE: i64 = 1_000;

/// What is to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    /// Who, as the token's holder calls himself.
    pub(crate) actor: &'a str,
    /// What, for example `dead_letters.redrive`.
    pub(crate) action: &'a str,
    /// To what: a stage, a run, a topic.
    pub(crate) subject: &'a str,
    /// Whatever else an inspector asks for. No patient data.
    pub(crate) detail: Value,
    /// When.
    pub(crate) at: Timestamp,
}

/// The row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Its fields are not those that were hashed.
    #[error("row {id} of the audit log was edited")]
    Edited {
        /// Which.
        id: i64,
    },
    /// It is not there.
    #[error("row {id} of the audit log is missing")]
    Missing {
        /// Which.
        id: i64,
    },
    /// The row names another row before it than the one there: one of the two was replaced.
    #[error("row {id} of the audit log does not follow the row before it")]
    Unchained {
        /// Which.
        id: i64,
    },
    /// The head is not the last row's hash.
    #[error("the head of the audit log does not fit row {id}")]
    Head {
        /// Which.
        id: i64,
    },
}

/// Appends one row in the caller's transaction and returns its id.
pub(crate) fn append(sql: &mut Transaction<'_>, entry: &Entry<'_>) -> Result<i64, postgres::Error> {
    // Held to the end of the transaction: whoever appends next sees this row or none.
    sql.execute("SELECT pg_advisory_xact_lock(hashtext('prescreen.audit_log'))", &[])?;
    let head = sql.query_one("SELECT id, hash FROM prescreen.audit_head", &[])?;
    let (id, previous) = (head.get::<_, i64>(0) + 1, head.get::<_, String>(1));
    // As PostgreSQL keeps them: microseconds, and its own spelling of the document.
    let at = entry.at.round(Unit::Microsecond).unwrap_or(entry.at);
    let detail: String = sql.query_one("SELECT $1::jsonb::text", &[&Json(&entry.detail)])?.get(0);
    let hash =
        Fields { id, at, actor: entry.actor, action: entry.action, subject: entry.subject, detail: &detail }
            .hash(&previous);
    sql.execute(
        "INSERT INTO prescreen.audit_log (id, at, actor, action, subject, detail, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[&id, &at, &entry.actor, &entry.action, &entry.subject, &Json(&entry.detail), &previous, &hash],
    )?;
    sql.execute("UPDATE prescreen.audit_head SET id = $1, hash = $2", &[&id, &hash])?;
    tracing::info!(audit.id = id, audit.hash = hash, action = entry.action, "audited");
    Ok(id)
}

/// Checks every row against its hash and its neighbour, and the end against the head. Returns how many rows there are, or
/// the first one that does not fit.
pub(crate) fn verify(database: &Database) -> Result<Result<i64, Broken>, DatabaseError> {
    let mut link = Link { id: 0, hash: "0".repeat(64) };
    loop {
        let after = link.id;
        let (rows, head) = database.read(Role::App, move |sql| {
            // One snapshot: a row that is appended meanwhile belongs to the next read, with its head.
            sql.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
            let rows = sql.query(
                "SELECT id, at, actor, action, subject, detail::text, previous_hash, hash FROM prescreen.audit_log
                 WHERE id > $1 ORDER BY id LIMIT $2",
                &[&after, &AT_ONCE],
            )?;
            let head = sql.query_one("SELECT id, hash FROM prescreen.audit_head", &[])?;
            Ok((rows, Link { id: head.get(0), hash: head.get(1) }))
        })?;
        for row in &rows {
            link = match link.next(row) {
                Ok(link) => link,
                Err(broken) => return Ok(Err(broken)),
            };
        }
        if (rows.len() as i64) < AT_ONCE {
            return Ok(link.end(&head));
        }
    }
}

/// A row's place in the chain.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    id: i64,
    hash: String,
}

impl Link {
    fn next(&self, row: &Row) -> Result<Self, Broken> {
        let (id, previous, hash): (i64, String, String) = (row.get(0), row.get(6), row.get(7));
        if id != self.id + 1 {
            return Err(Broken::Missing { id: self.id + 1 });
        }
        let fields = Fields {
            id,
            at: row.get(1),
            actor: row.get(2),
            action: row.get(3),
            subject: row.get(4),
            detail: row.get(5),
        };
        if fields.hash(&previous) != hash {
            return Err(Broken::Edited { id });
        }
        if previous != self.hash {
            return Err(Broken::Unchained { id });
        }
        Ok(Self { id, hash })
    }

    fn end(self, head: &Self) -> Result<i64, Broken> {
        if self.id < head.id {
            return Err(Broken::Missing { id: self.id + 1 });
        }
        if self != *head {
            return Err(Broken::Head { id: self.id });
        }
        Ok(self.id)
    }
}

/// What a hash covers beside the row before.
struct Fields<'a> {
    id: i64,
    at: Timestamp,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    /// As PostgreSQL spells it.
    detail: &'a str,
}

impl Fields<'_> {
    fn hash(&self, previous: &str) -> String {
        let mut sha = Sha256::new();
        let (id, at) = (self.id.to_string(), self.at.as_microsecond().to_string());
        for field in [previous, &id, &at, self.actor, self.action, self.subject, self.detail] {
            // With its length, so that no text can move from one field into the next.
            sha.update((field.len() as u64).to_be_bytes());
            sha.update(field);
        }
        format!("{:x}", sha.finalize())
    }
}
