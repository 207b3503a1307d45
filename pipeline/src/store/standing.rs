//! What waits for a person, as numbers, and what time the database has.

use jiff::Timestamp;

use super::{Database, DatabaseError, Role};

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Dead letters of clinical studies that nobody has sent back.
    pub(crate) waiting: i64,
    /// When the oldest of these died.
    pub(crate) oldest: Option<Timestamp>,
    /// Times one was sent back, ever.
    pub(crate) redriven: u64,
    /// Replay runs under way, or killed and to be resumed.
    pub(crate) replays: i64,
    /// The database's clock.
    pub(crate) clock: Timestamp,
}

/// Counts. A dead letter that names no run counts: it may be anybody's study.
pub(crate) fn standing(database: &Database) -> Result<Standing, DatabaseError> {
    database.read(Role::App, |sql| {
        let row = sql.query_one(
            "SELECT count(*) FILTER (WHERE redriven_at IS NULL), min(died_at) FILTER (WHERE redriven_at IS NULL),
                coalesce(sum(redrives), 0)::bigint, (SELECT count(*) FROM prescreen.replay_runs WHERE state = 'running'),
                clock_timestamp()
             FROM prescreen.dead_letters WHERE run_id IS NULL OR run_id = 'live'",
            &[],
        )?;
        Ok(Standing {
            waiting: row.get(0),
            oldest: row.get(1),
            redriven: row.get::<_, i64>(2).unsigned_abs(),
            replays: row.get(3),
            clock: row.get(4),
        })
    })
}
