//! "Where is study X, and why?"

use console::site::{StudyFilter, StudyTimeline, TimelineDeadLetter, TimelineEvent};
use schemas::{RunId, StudyUid};

use super::{Database, DatabaseError, Role, studies};

/// The timeline of `study` in `run`; `None` if the store never heard of it.
pub(crate) fn timeline(
    database: &Database,
    run: &RunId,
    study: &StudyUid,
) -> Result<Option<StudyTimeline>, DatabaseError> {
    let filter = StudyFilter { study_uid: Some(study.clone()), limit: 100, ..StudyFilter::default() };
    let mut revisions = studies(database, run, &filter)?;
    if revisions.is_empty() {
        return Ok(None);
    }
    // The list is by arrival, and a later revision may have been heard of first.
    revisions.sort_by_key(|row| std::cmp::Reverse(row.revision));
    let (run, study) = (run.as_str().to_owned(), study.to_string());
    database.read(Role::App, move |sql| {
        let events = sql.query(
            "SELECT revision, happened_at, topic, source, summary, deliveries FROM prescreen.study_events
             WHERE study_uid = $1 AND run_id = $2 ORDER BY revision, happened_at, topic LIMIT 1000",
            &[&study, &run],
        )?;
        let dead = sql.query(
            "SELECT topic, partition, \"offset\", stage, cause, detail, attempts, died_at, redriven_at FROM prescreen.dead_letters
             WHERE study_uid = $1 AND run_id = $2 ORDER BY died_at LIMIT 1000",
            &[&study, &run],
        )?;
        let report = sql.query_opt(
            "SELECT report FROM prescreen.reports WHERE study_uid = $1 AND run_id = $2 ORDER BY revision DESC LIMIT 1",
            &[&study, &run],
        )?;
        let rejection = sql.query_opt(
            "SELECT rejection FROM prescreen.rejections WHERE study_uid = $1 AND run_id = $2 ORDER BY revision DESC LIMIT 1",
            &[&study, &run],
        )?;
        Ok(Some(StudyTimeline {
            revisions,
            events: events
                .iter()
                .map(|row| TimelineEvent {
                    revision: row.get(0),
                    at: row.get(1),
                    topic: row.get(2),
                    source: row.get(3),
                    summary: row.get(4),
                    deliveries: row.get(5),
                })
                .collect(),
            dead_letters: dead
                .iter()
                .map(|row| TimelineDeadLetter {
                    topic: row.get(0),
                    partition: row.get(1),
                    offset: row.get(2),
                    stage: row.get(3),
                    cause: row.get(4),
                    detail: row.get(5),
                    attempts: row.get(6),
                    at: row.get(7),
                    redriven_at: row.get(8),
                })
                .collect(),
            report: report.map(|row| row.get(0)),
            rejection: rejection.map(|row| row.get(0)),
        }))
    })
}
