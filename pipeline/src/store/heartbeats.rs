//! What heartbeats leave behind, and how it goes: rows of run `heartbeat` and the blobs they name.

use jiff::Timestamp;
use postgres::Transaction;
use schemas::{Area, BlobRef};
use serde_json::Value;

use super::{Database, DatabaseError, Role};

/// Every blob that `payload`, a message as JSON, names in an area that studies write to.
pub(super) fn blobs_of(payload: &[u8]) -> Vec<BlobRef> {
    fn walk(value: &Value, found: &mut Vec<BlobRef>) {
        match value {
            Value::Object(fields) => match serde_json::from_value::<BlobRef>(value.clone()) {
                Ok(blob) if matches!(blob.area, Area::Raw | Area::Frames) => found.push(blob),
                _ => fields.values().for_each(|field| walk(field, found)),
            },
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(message) = serde_json::from_slice(payload) {
        walk(&message, &mut found);
    }
    found
}

/// Notes that a heartbeat names `blobs`.
pub(super) fn note(
    sql: &mut Transaction<'_>,
    study: &str,
    blobs: &[BlobRef],
    now: Timestamp,
) -> Result<(), postgres::Error> {
    for blob in blobs {
        sql.execute(
            "INSERT INTO prescreen.heartbeat_blobs (area, sha256, bytes, study_uid, noted_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
            &[&blob.area.folder(), &blob.sha256.to_string(), &(blob.bytes as i64), &study, &now],
        )?;
    }
    Ok(())
}

/// Blobs that heartbeats named before `before`, some at a time; not those whose study was taken in by hand too.
pub(crate) fn expired_heartbeat_blobs(
    database: &Database,
    before: Timestamp,
) -> Result<Vec<BlobRef>, DatabaseError> {
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT area, sha256, bytes FROM prescreen.heartbeat_blobs AS blobs WHERE noted_at < $1
                AND NOT EXISTS (SELECT FROM prescreen.studies
                    WHERE studies.run_id = 'live' AND studies.study_uid = blobs.study_uid)
             ORDER BY noted_at LIMIT 1000",
            &[&before],
        )?;
        let blob = |row: &postgres::Row| {
            let area =
                [Area::Raw, Area::Frames].into_iter().find(|area| area.folder() == row.get::<_, &str>(0))?;
            let sha256 = row.get::<_, &str>(1).parse().ok()?;
            Some(BlobRef { area, sha256, bytes: row.get::<_, i64>(2).unsigned_abs() })
        };
        Ok(rows.iter().filter_map(blob).collect())
    })
}

/// Forgets `blobs`, which are gone, and the rows of heartbeats that began before `before`, some at a time.
pub(crate) fn forget_heartbeats(
    database: &Database,
    blobs: Vec<BlobRef>,
    before: Timestamp,
) -> Result<(), DatabaseError> {
    database.write(Role::App, move |sql| {
        for blob in &blobs {
            sql.execute(
                "DELETE FROM prescreen.heartbeat_blobs WHERE area = $1 AND sha256 = $2",
                &[&blob.area.folder(), &blob.sha256.to_string()],
            )?;
        }
        sql.execute("SELECT prescreen.forget_heartbeats($1)", &[&before])?;
        Ok(())
    })
}
