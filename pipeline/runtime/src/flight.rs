//! The records in flight of one run, by ticket.

use std::{sync::Arc, time::Instant};

use rdkafka::error::KafkaError;
use schemas::Priority;

use crate::{
    dead_letter::Death,
    dispatch::Waiting,
    metrics::Finished,
    record::{Partition, Record},
    suspect::Alone,
};

/// Where a taken record stands. The worker's word and the broker's come in any order.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// Not with a worker.
    #[default]
    Waiting,
    /// With a worker; the acknowledgement may be here before the worker's word.
    Working { acked: Option<Result<(), KafkaError>> },
    /// Its output is on its way.
    Sent(Finished),
}

/// One record in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) record: Arc<Record>,
    pub(crate) partition: Partition,
    pub(crate) epoch: u64,
    pub(crate) lane: Priority,
    pub(crate) key: Option<u64>,
    pub(crate) received: Instant,
    pub(crate) stage: Stage,
    /// How often it was handed out.
    pub(crate) attempts: u32,
    /// Set once it was decided that it is dead.
    pub(crate) death: Option<Death>,
    /// Failures for a dependency, for the length of the next wait.
    pub(crate) outages: u32,
    /// It is the one record that finds out whether a dependency is back.
    pub(crate) probe: bool,
    /// Held while it is processed as a suspect.
    pub(crate) alone: Option<Alone>,
}

impl Flight {
    pub(crate) fn waiting(&self, ticket: usize) -> Waiting {
        Waiting { ticket, key: self.key, lane: self.lane, produced: self.record.timestamp }
    }
}

/// Flights by ticket. A ticket is given again only after its flight was removed.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
}

impl Flights {
    pub(crate) fn insert(&mut self, flight: Flight) -> usize {
        if let Some(ticket) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(ticket)
        {
            *slot = Some(flight);
            return ticket;
        }
        self.slots.push(Some(flight));
        self.slots.len() - 1
    }

    pub(crate) fn get(&self, ticket: usize) -> Option<&Flight> {
        self.slots.get(ticket)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, ticket: usize) -> Option<&mut Flight> {
        self.slots.get_mut(ticket)?.as_mut()
    }

    pub(crate) fn remove(&mut self, ticket: usize) -> Option<Flight> {
        let flight = self.slots.get_mut(ticket)?.take()?;
        self.free.push(ticket);
        Some(flight)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
