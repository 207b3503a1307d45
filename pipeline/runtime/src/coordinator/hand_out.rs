//! Which records go to which worker, and when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::Coordinator;
use crate::{
    event::{Failure, Job, Order},
    flight::Stage,
    retry::Permit,
    settings::Exit,
};

/// How long a suspect waits when another one is being processed.
const SOLITUDE_TAKEN: Duration = Duration::from_millis(50);

impl Coordinator {
    /// Gives work to idle workers.
    pub(super) fn hand_out(&mut self, now: Instant) -> Result<(), Exit> {
        while let Some(ticket) = self.delayed.pop_due(now) {
            if let Some(flight) = self.flights.get(ticket) {
                self.dispatch.put_back(flight.waiting(ticket));
            }
        }
        let wall = Timestamp::now();
        while let Some(worker) = self.idle.last().copied() {
            if let Some(ticket) = self.alone {
                let begun =
                    self.flights.get(ticket).is_none_or(|flight| !matches!(flight.stage, Stage::Waiting));
                if !begun && self.busy == 0 {
                    self.order(worker, &[ticket], now)?;
                }
                return Ok(());
            }
            let room = match self.outage.permit(now) {
                Permit::All => usize::MAX,
                Permit::Probe => 1,
                Permit::None => return Ok(()),
            };
            let Some(batcher) = &mut self.batcher else { return Ok(()) };
            let wanted = batcher.release(self.dispatch.ready(), now).min(room);
            let batch = self.take(wanted, wall, now);
            if batch.is_empty() {
                // Either nothing is due, or a suspect was taken: then once more round.
                if self.alone.is_some() {
                    continue;
                }
                return Ok(());
            }
            if room == 1 {
                self.outage.probe_sent();
                if let Some(flight) = batch.first().and_then(|ticket| self.flights.get_mut(*ticket)) {
                    flight.probe = true;
                }
            }
            self.order(worker, &batch, now)?;
        }
        Ok(())
    }

    /// Takes up to `wanted` records that go together. A dead one and a suspect go by themselves.
    fn take(&mut self, wanted: usize, wall: Timestamp, now: Instant) -> Vec<usize> {
        let mut batch = Vec::with_capacity(wanted);
        while batch.len() < wanted {
            let Some(waiting) = self.dispatch.take(wall) else { break };
            let Some(flight) = self.flights.get_mut(waiting.ticket) else { continue };
            let suspect = flight.death.is_none()
                && !self.parts.attempts.is_empty()
                && self.parts.attempts.deaths(&flight.record.position()) > 0;
            if !suspect && flight.death.is_none() {
                batch.push(waiting.ticket);
                continue;
            }
            if !batch.is_empty() {
                self.dispatch.put_back(waiting);
                break;
            }
            if !suspect {
                batch.push(waiting.ticket);
                break;
            }
            match self.parts.solitude.enter() {
                Some(alone) => {
                    flight.alone = Some(alone);
                    self.alone = Some(waiting.ticket);
                    break;
                }
                None => self.delayed.push(now + SOLITUDE_TAKEN, waiting.ticket),
            }
        }
        batch
    }

    fn order(&mut self, worker: usize, tickets: &[usize], now: Instant) -> Result<(), Exit> {
        let mut jobs = Vec::with_capacity(tickets.len());
        let mut death = None;
        for ticket in tickets {
            let Some(flight) = self.flights.get_mut(*ticket) else { continue };
            flight.stage = Stage::Working { acked: None };
            flight.attempts = flight.attempts.saturating_add(1);
            death.clone_from(&flight.death);
            let wait = now.saturating_duration_since(flight.received);
            self.parts.metrics.queue_wait.observe(wait.as_secs_f64());
            jobs.push(Job {
                ticket: *ticket,
                record: Arc::clone(&flight.record),
                lane: flight.lane,
                input: flight.partition.input,
                attempt: flight.attempts,
            });
        }
        self.busy += jobs.len();
        self.parts.metrics.batch_size.observe(jobs.len() as f64);
        let order = match (death, jobs.pop()) {
            (Some(death), Some(job)) => Order::Bury(job, death),
            (None, Some(job)) => {
                jobs.push(job);
                Order::Process(jobs)
            }
            (_, None) => return Ok(()),
        };
        self.idle.pop();
        // A worker that is idle has an empty queue of one: this never waits.
        match self.parts.queues.orders.get(worker).map(|orders| orders.send(order)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.stop(Failure::Fatal("a worker thread has ended".into()))),
        }
    }
}
