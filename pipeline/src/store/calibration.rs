//! What a calibration needs of the store, and what the store keeps of one.

use calibration::CalibrationSet;
use console::site::ConfirmedStudy;
use jiff::Timestamp;
use postgres::types::Json;
use schemas::{Digest, ReportIssued, RunId};

use super::{Database, DatabaseError, Role};

/// Studies of `run` whose latest decision gives an ejection fraction, in the order of these decisions. A study with an
/// objection or a rejection after it has none.
pub(crate) fn confirmed_studies(
    database: &Database,
    run: &RunId,
    skip: u32,
    limit: u32,
) -> Result<Vec<ConfirmedStudy>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT inferences.findings, latest.ef_percent, latest.blinded
             FROM (SELECT DISTINCT ON (study_uid, revision) study_uid, revision, review_id, action, ef_percent, blinded,
                    decided_at
                FROM prescreen.reviews WHERE run_id = $1
                ORDER BY study_uid, revision, decided_at DESC, review_id) AS latest
             JOIN prescreen.inferences ON inferences.run_id = $1 AND inferences.study_uid = latest.study_uid
                AND inferences.revision = latest.revision
             WHERE latest.action IN ('confirm', 'correct') AND latest.ef_percent IS NOT NULL
             ORDER BY latest.decided_at, latest.review_id OFFSET $2 LIMIT $3",
            &[&run, &i64::from(skip), &i64::from(limit)],
        )?;
        let study = |row: &postgres::Row| {
            let Json(findings) = row.try_get(0)?;
            Ok(ConfirmedStudy {
                findings,
                truth_ef: row.get(1),
                vendor: None,
                subject: None,
                blinded: row.get(2),
            })
        };
        rows.iter().map(study).collect()
    })
}

/// The last `limit` reports of `run` whose intervals come from the set of `digest`, the oldest first.
pub(crate) fn calibrated_reports(
    database: &Database,
    run: &RunId,
    digest: Digest,
    limit: u32,
) -> Result<Vec<ReportIssued>, DatabaseError> {
    let (run, digest) = (run.as_str().to_owned(), digest.to_string());
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT report FROM prescreen.reports WHERE run_id = $1 AND report->'calibration'->>'digest' = $2
             ORDER BY issued_at DESC, study_uid, revision LIMIT $3",
            &[&run, &digest, &i64::from(limit)],
        )?;
        let report = |row: &postgres::Row| row.try_get(0).map(|Json(report)| report);
        rows.iter().rev().map(report).collect()
    })
}

/// Keeps the file of a set, so that a report that names it can be explained for as long as it lasts.
pub(crate) fn keep_set(
    database: &Database,
    set: &CalibrationSet,
    text: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let (digest, contents, text) = (set.digest().to_string(), set.contents().clone(), text.to_owned());
    database.write(Role::App, move |sql| {
        sql.execute(
            "INSERT INTO prescreen.calibration_sets (digest, id, made_at, model, fingerprint, alpha, studies, synthetic,
                contents, first_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            &[
                &digest, &contents.id, &contents.made_at, &contents.model.to_string(),
                &contents.fingerprint.to_string(), &contents.alpha.get(), &(contents.studies as i32),
                &contents.synthetic, &text, &now,
            ],
        )?;
        Ok(())
    })
}
