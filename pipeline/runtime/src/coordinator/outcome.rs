//! What follows from what a worker or the broker said of a record.

use std::{hash::BuildHasher, time::Instant};

use jiff::Timestamp;
use rdkafka::error::KafkaError;
use schemas::Cause;

use super::Coordinator;
use crate::{
    dead_letter::Death,
    event::{Failure, Verdict},
    flight::{Flight, Stage},
    metrics::Finished,
    producer,
    settings::{DeadLetters, Exit},
};

impl Coordinator {
    pub(super) fn verdict(&mut self, ticket: usize, verdict: Verdict) -> Result<(), Exit> {
        let failure = match verdict {
            Verdict::Done(finished) => {
                self.busy = self.busy.saturating_sub(1);
                self.finish(ticket, finished)?;
                return Ok(());
            }
            Verdict::Sent(finished) => {
                let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
                let acked = match std::mem::replace(&mut flight.stage, Stage::Sent(finished)) {
                    Stage::Working { acked } => acked,
                    Stage::Waiting | Stage::Sent(_) => None,
                };
                return acked.map_or(Ok(()), |result| self.acked(ticket, result));
            }
            Verdict::Untouched => {
                self.busy = self.busy.saturating_sub(1);
                let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
                flight.stage = Stage::Waiting;
                if self.offsets.is_stale(flight.partition, flight.epoch) {
                    self.forget(ticket);
                } else {
                    self.dispatch.put_back(flight.waiting(ticket));
                }
                return Ok(());
            }
            Verdict::Failed(failure) => failure,
        };
        self.busy = self.busy.saturating_sub(1);
        self.failed(ticket, failure)
    }

    pub(super) fn acked(&mut self, ticket: usize, result: Result<(), KafkaError>) -> Result<(), Exit> {
        let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
        match &mut flight.stage {
            Stage::Working { acked } => {
                *acked = Some(result);
                Ok(())
            }
            Stage::Waiting => Ok(()),
            Stage::Sent(finished) => {
                let finished = *finished;
                self.busy = self.busy.saturating_sub(1);
                match result {
                    Ok(()) => self.finish(ticket, finished),
                    Err(error) => {
                        self.parts.metrics.retries_delivery.inc();
                        self.failed(ticket, producer::failure(error))
                    }
                }
            }
        }
    }

    /// A record failed; it is not with a worker any more.
    fn failed(&mut self, ticket: usize, failure: Failure) -> Result<(), Exit> {
        let now = Instant::now();
        let Some(flight) = self.flights.get_mut(ticket) else {
            return if matches!(failure, Failure::Fatal(_) | Failure::Broker(_)) {
                Err(self.stop(failure))
            } else {
                Ok(())
            };
        };
        flight.stage = Stage::Waiting;
        let probe = std::mem::take(&mut flight.probe);
        if self.alone == Some(ticket) {
            flight.alone = None;
            self.alone = None;
        }
        let position = flight.record.position();
        let jitter = self.keys.hash_one((position.partition, position.offset, flight.outages));
        let stale = self.offsets.is_stale(flight.partition, flight.epoch);
        if probe && !matches!(failure, Failure::Dependency(_)) {
            self.outage.probe_said_nothing();
        }
        match failure {
            Failure::Fatal(_) | Failure::Broker(_) | Failure::Aborted => Err(self.stop(failure)),
            _ if stale && !matches!(failure, Failure::Dependency(_)) => {
                self.forget(ticket);
                Ok(())
            }
            Failure::Dead(death) => self.condemn(ticket, death),
            Failure::Record(detail) => {
                let failures = match self.parts.attempts.failed(&position) {
                    Ok(failures) => failures,
                    Err(error) => return Err(self.stop(Failure::Fatal(error.into()))),
                };
                tracing::warn!(stage = %self.parts.name, %position, failures, detail, "record failed");
                if failures >= self.parts.settings.retry.record_budget {
                    let detail = format!("failed {failures} times, last: {detail}");
                    let death = Death { cause: Cause::RetriesExhausted, detail, attempts: failures };
                    return self.condemn(ticket, death);
                }
                self.parts.metrics.retries_record.inc();
                self.delayed.push(now + self.parts.settings.retry.backoff(failures, jitter), ticket);
                Ok(())
            }
            Failure::Dependency(detail) => {
                flight.outages = flight.outages.saturating_add(1);
                let wait = self.parts.settings.retry.backoff(flight.outages, jitter);
                if let Some(failures) = self.outage.failed(&self.parts.settings.retry, now, jitter) {
                    let stage = &*self.parts.name;
                    tracing::warn!(
                        stage,
                        failures,
                        detail,
                        "stage is paused: something it depends on is down"
                    );
                }
                self.parts.metrics.paused.set(1);
                if stale {
                    self.forget(ticket);
                    return Ok(());
                }
                self.parts.metrics.retries_dependency.inc();
                self.delayed.push(now + wait, ticket);
                Ok(())
            }
        }
    }

    /// Decides what becomes of a record that can never be processed.
    fn condemn(&mut self, ticket: usize, death: Death) -> Result<(), Exit> {
        let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
        let key = flight.record.key.as_deref().map(|key| self.parts.log_key.hash(key)).unwrap_or_default();
        let (stage, position, cause) = (&*self.parts.name, flight.record.position(), death.cause);
        let terminal = match self.parts.inputs.get(flight.partition.input) {
            Some(input) => input.dead_letters == DeadLetters::Terminal,
            None => true,
        };
        self.parts.metrics.dead_letter(cause);
        if terminal {
            tracing::error!(stage, %position, study.uid_hash = key, %cause, "dead letter cannot be used; discarded");
            return self.finish(ticket, Finished::Discarded);
        }
        tracing::warn!(stage, %position, study.uid_hash = key, %cause, "dead letter");
        if let Err(reached) = self.limiter.dead(Instant::now()) {
            let stage = self.parts.name.to_string();
            return Err(Exit::DeadLetterLimit { stage, dead: reached.dead, records: reached.records });
        }
        flight.death = Some(death);
        let waiting = flight.waiting(ticket);
        self.dispatch.put_back(waiting);
        Ok(())
    }

    pub(super) fn finish(&mut self, ticket: usize, finished: Finished) -> Result<(), Exit> {
        let Some(flight) = self.forget(ticket) else { return Ok(()) };
        self.offsets.complete(flight.partition, flight.epoch, flight.record.offset);
        self.parts.metrics.finished(finished, Timestamp::now());
        if finished != Finished::DeadLettered {
            self.limiter.alive(Instant::now());
        }
        if flight.probe && self.outage.succeeded() {
            tracing::info!(stage = %self.parts.name, "stage goes on");
            self.parts.metrics.paused.set(0);
        }
        if !self.parts.attempts.is_empty()
            && let Err(error) = self.parts.attempts.finished(&flight.record.position())
        {
            return Err(self.stop(Failure::Fatal(error.into())));
        }
        Ok(())
    }

    /// Takes a record out of flight; the next of its key may go.
    pub(super) fn forget(&mut self, ticket: usize) -> Option<Flight> {
        let flight = self.flights.remove(ticket)?;
        self.window(flight.lane).leave(flight.record.size());
        self.dispatch.release(flight.key);
        self.gauge();
        if self.alone == Some(ticket) {
            self.alone = None;
        }
        Some(flight)
    }
}
