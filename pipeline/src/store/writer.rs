//! The sink that keeps results.
//!
//! A batch is one transaction. What PostgreSQL refuses because of the data itself is found by writing the batch's records
//! one by one; anything else is the database's own trouble, and the batch is tried again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date};
use runtime::{Record, Sink};
use stage::{BatchLimits, StageError};

use crate::{drift::Drift, heartbeat::HeartbeatAges};

use super::{
    Database, DatabaseError, Role, StoreMetrics,
    row::{Place, Row, Unstorable},
    statements::Tally,
};

/// The sink.
pub(crate) struct StoreWriter {
    database: Database,
    pub(super) metrics: StoreMetrics,
    /// Without a calibration set there is nothing to watch.
    drift: Option<Drift>,
    /// Absent where there is no heartbeat.
    heartbeats: Option<HeartbeatAges>,
    /// Months whose partition is known to be there.
    months: BTreeSet<Date>,
}

impl StoreWriter {
    /// A writer on `database`.
    pub(crate) fn new(database: Database, metrics: StoreMetrics, drift: Option<Drift>) -> Self {
        Self { database, metrics, drift, heartbeats: None, months: BTreeSet::new() }
    }

    /// The same, telling `ages` of each heartbeat stored.
    pub(crate) fn with_heartbeats(self, ages: Option<HeartbeatAges>) -> Self {
        Self { heartbeats: ages, ..self }
    }

    /// Writes `rows` and how far the store has come as one transaction.
    fn store(&mut self, rows: Vec<Arc<Row>>, places: Vec<Place>) -> Result<(), DatabaseError> {
        let months: BTreeSet<Date> = rows.iter().filter_map(|row| row.month()).collect();
        let new_months: Vec<Date> = months.difference(&self.months).copied().collect();
        let written = rows.clone();
        let tally = self.database.write(Role::App, move |sql| {
            let mut tally = Tally::default();
            let now = Timestamp::now();
            for month in &new_months {
                sql.execute("SELECT prescreen.ensure_month($1)", &[month])?;
            }
            for row in &rows {
                row.write(sql, now, &mut tally)?;
            }
            for place in &places {
                sql.execute(
                    "INSERT INTO prescreen.sink_offsets (topic, partition, next_offset, updated_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (topic, partition) DO UPDATE SET
                        next_offset = GREATEST(sink_offsets.next_offset, EXCLUDED.next_offset), updated_at = EXCLUDED.updated_at",
                    &[&place.topic, &place.partition, &place.offset.saturating_add(1), &now],
                )?;
            }
            Ok(tally)
        })?;
        self.months.extend(months);
        if let Some(ages) = &self.heartbeats {
            written.iter().filter_map(|row| row.heartbeat()).for_each(|envelope| ages.passed(envelope));
        }
        if let Some(drift) = &mut self.drift {
            for (run, report) in &tally.calibrated {
                drift.observe(run, [report]);
            }
        }
        self.metrics.count(tally);
        Ok(())
    }

    fn store_one(&mut self, row: Arc<Row>, record: &Record) -> Result<(), StageError> {
        self.store(vec![row], vec![Place::of(record)]).map_err(|error| match error {
            DatabaseError::Refused { ref code, .. } if error.blames_data() => {
                StageError::invalid(Unstorable::Data(code.clone()))
            }
            other => StageError::dependency(other),
        })
    }
}

impl Sink for StoreWriter {
    fn limits(&self) -> BatchLimits {
        BatchLimits { items: 200, cost: u32::MAX, linger: Duration::from_millis(20) }
    }

    fn write(&mut self, records: &[Arc<Record>]) -> Vec<Result<(), StageError>> {
        let read: Vec<Result<Arc<Row>, Unstorable>> =
            records.iter().map(|record| Row::read(record).map(Arc::new)).collect();
        let rows = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
        let mut trouble = None;
        let one_by_one = match self.store(rows, last_places(records)) {
            Ok(()) => false,
            Err(error) if error.blames_data() => true,
            Err(error) => {
                trouble = Some(error.to_string());
                false
            }
        };
        let results = read.into_iter().zip(records).map(|(row, record)| {
            let row = row.map_err(StageError::invalid)?;
            if let Some(trouble) = &trouble {
                return Err(StageError::dependency(trouble.clone()));
            }
            if !one_by_one {
                return Ok(());
            }
            let result = self.store_one(row, record);
            if let Err(error @ StageError::Transient { .. }) = &result {
                // The rest would only wait for the same database, one timeout after the other.
                trouble = Some(error.to_string());
            }
            result
        });
        results.collect()
    }
}

/// The last record of each partition in the batch.
fn last_places(records: &[Arc<Record>]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for record in records {
        let same = |place: &&mut Place| place.topic == *record.topic && place.partition == record.partition;
        match places.iter_mut().find(same) {
            Some(place) => place.offset = place.offset.max(record.offset),
            None => places.push(Place::of(record)),
        }
    }
    places
}
