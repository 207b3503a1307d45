//! A sink as work: the only effect besides records, for example rows in a database.

use std::{sync::Arc, time::Duration};

use stage::{BatchLimits, StageError};

use crate::{
    event::{Failure, Job, Verdict},
    metrics::Finished,
    record::Record,
    worker::{Hands, Work, failure},
};

/// Takes records out of Kafka. Lives on one thread, where it was opened.
pub trait Sink: 'static {
    /// How many records are written together.
    fn limits(&self) -> BatchLimits {
        BatchLimits { items: 100, cost: u32::MAX, linger: Duration::from_millis(20) }
    }

    /// Writes `records` and says of each how it went, in order. An offset is committed only after an `Ok`, so writing
    /// a record again must change nothing.
    fn write(&mut self, records: &[Arc<Record>]) -> Vec<Result<(), StageError>>;
}

/// Opens a sink on its thread; called again after a panic, and again and again while it fails for a dependency.
pub type OpenSink<K> = Box<dyn FnMut() -> Result<K, StageError> + Send>;

pub(crate) struct SinkWork<K>(K);

impl<K: Sink> Work for SinkWork<K> {
    type Parts = OpenSink<K>;
    type Answer = ();

    fn build(open: &mut OpenSink<K>) -> Result<Self, StageError> {
        open().map(Self)
    }

    fn limits(&self) -> BatchLimits {
        self.0.limits()
    }

    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<(), Failure>> {
        let records: Vec<Arc<Record>> = jobs.iter().map(|job| Arc::clone(&job.record)).collect();
        self.0.write(&records).into_iter().map(|result| result.map_err(failure)).collect()
    }

    fn conclude(&self, _: &Job, (): (), _: &mut Hands) -> Verdict {
        Verdict::Done(Finished::Written)
    }
}
