//! The owner thread: decides on requests, makes groups of entries durable, closes what is due, feeds the publisher.

use std::{
    io,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use jiff::Timestamp;
use schemas::{CompletionRule, Revision, StudyUid};

use super::{Novelty, Receipt, Request, Settled, Unsettled, chain};
use crate::{
    arrival::Offers,
    assembler::{Assembler, CompletionTimes, Entry, Received, Standing, Study},
    filing::Candidate,
    journal::{Journal, JournalError},
    metrics::IntakeMetrics,
    refusal::Refusal,
    spool::Spool,
};

/// Requests that share one fsync.
const GROUP: usize = 128;
/// The owner looks after due studies and gauges at least this often.
const TICK: Duration = Duration::from_secs(1);
/// The journal is compacted when it has grown past this many bytes and doubled since the last time.
const COMPACT_FROM: u64 = 16 << 20;

/// Entries that become durable together, and who waits for them.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    waiting: Vec<(Sender<Result<Receipt, Refusal>>, Receipt)>,
}

impl Group {
    /// Does the decision on `candidate` rest on something in this group, which is not durable yet?
    fn decides_on(&self, candidate: &Candidate) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Received(received) => {
                received.instance.uid == candidate.instance.uid
                    || received.study == candidate.study && received.synthetic != candidate.synthetic
            }
            _ => false,
        })
    }
}

pub(super) struct Owner {
    journal: Journal,
    pub(super) spool: Spool,
    pub(super) assembler: Assembler,
    pub(super) metrics: IntakeMetrics,
    times: CompletionTimes,
    /// Length of the journal after its last compaction.
    compacted: u64,
    /// When the gauges were last set: they walk all studies.
    measured: Instant,
    /// The publisher, while it waits for work.
    publisher: Option<Sender<Unsettled>>,
    offers: Offers,
}

impl Owner {
    pub(super) fn new(
        journal: Journal,
        spool: Spool,
        times: CompletionTimes,
        metrics: IntakeMetrics,
    ) -> Self {
        Self {
            journal,
            spool,
            assembler: Assembler::default(),
            metrics,
            times,
            compacted: 0,
            measured: Instant::now(),
            publisher: None,
            offers: Offers::default(),
        }
    }

    pub(super) fn compact(&mut self) -> Result<(), JournalError> {
        let studies = self.assembler.studies().map(|study| Entry::Study(Box::new(study.clone())));
        self.journal.compact(studies)?;
        self.compacted = self.journal.length();
        Ok(())
    }

    pub(super) fn run(mut self, inbox: &Receiver<Request>) {
        // After a failed closing the next attempt waits, or a full disk would keep this thread spinning.
        let mut closing_failed = false;
        loop {
            let next_due = self.assembler.next_due(Timestamp::now(), self.times);
            let wait = next_due.filter(|_| !closing_failed).map_or(TICK, |due| due.min(TICK));
            let first = match inbox.recv_timeout(wait) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut group = Group::default();
            for request in first.into_iter().chain(inbox.try_iter().take(GROUP)) {
                self.handle(request, &mut group);
            }
            self.commit(group);
            closing_failed = self.close_due().is_err();
            self.feed_publisher();
            if self.journal.length() > COMPACT_FROM.max(2 * self.compacted)
                && let Err(error) = self.compact()
            {
                tracing::error!(error = %chain(&error), "journal could not be compacted; it goes on growing");
            }
            if self.measured.elapsed() >= TICK {
                self.measure();
            }
        }
    }

    fn handle(&mut self, request: Request, group: &mut Group) {
        match request {
            Request::File { candidate, reply } => {
                if group.decides_on(&candidate) {
                    self.commit(std::mem::take(group));
                }
                if let Some(answer) = self.file(*candidate, &reply, group) {
                    answer_to(&reply, answer);
                }
            }
            Request::Quarantine { sealed, code } => {
                self.quarantine(code, |spool| spool.quarantine(*sealed, code));
            }
            Request::Close { study, reply } => {
                self.commit(std::mem::take(group));
                answer_to(&reply, self.close(&study));
            }
            Request::Open { reply } => {
                self.commit(std::mem::take(group));
                answer_to(&reply, self.assembler.open());
            }
            Request::Offer { arrivals } => self.offers = Offers::to(arrivals),
            Request::Next { reply } => self.publisher = Some(reply),
            Request::Settle { study, revision, settled, reply } => {
                self.commit(std::mem::take(group));
                answer_to(&reply, self.settle(&study, revision, settled));
            }
        }
    }

    /// Decides on an object. `None`: it was added to the group, and the answer follows its commit.
    fn file(
        &mut self,
        candidate: Candidate,
        reply: &Sender<Result<Receipt, Refusal>>,
        group: &mut Group,
    ) -> Option<Result<Receipt, Refusal>> {
        let recalled = match self.recall(&candidate.study, group) {
            Ok(recalled) => recalled,
            Err(refusal) => return Some(Err(refusal)),
        };
        let known = recalled.as_ref().or_else(|| self.assembler.study(&candidate.study));
        let standing =
            known.map_or(Standing::New, |study| study.standing(&candidate.instance, candidate.synthetic));
        let receipt = |novelty| Receipt {
            study: candidate.study.clone(),
            instance: candidate.instance.uid.clone(),
            novelty,
        };
        let refusal = match standing {
            Standing::Duplicate => return Some(Ok(receipt(Novelty::Duplicate))),
            Standing::Conflict => Refusal::Conflict,
            Standing::SyntheticMix => Refusal::SyntheticMix,
            Standing::New => {
                if let Err(refusal) = self.reopen(recalled, group) {
                    return Some(Err(refusal));
                }
                let receipt = receipt(Novelty::Stored);
                let Candidate { temporary, study, instance, synthetic, origin } = candidate;
                if let Err(source) = temporary.keep_as(&self.spool.object(&instance.blob.sha256)) {
                    return Some(Err(Refusal::Spool { action: "rename an object", source }));
                }
                let received = Received {
                    study,
                    instance,
                    synthetic,
                    priority: origin.priority,
                    from: origin.from,
                    at: Timestamp::now(),
                };
                group.entries.push(Entry::Received(Box::new(received)));
                group.waiting.push((reply.clone(), receipt));
                return None;
            }
        };
        let code = refusal.code();
        self.quarantine(code, |spool| spool.quarantine_candidate(candidate, code));
        Some(Err(refusal))
    }

    /// What the archive knows of a study that is not in memory.
    fn recall(&self, study: &StudyUid, group: &Group) -> Result<Option<Study>, Refusal> {
        let in_group = group.waiting.iter().any(|(_, receipt)| receipt.study == *study);
        if in_group || self.assembler.study(study).is_some() {
            return Ok(None);
        }
        self.spool.recall(study).map_err(Refusal::spool("read the archive"))
    }

    /// Takes a study back from the archive: the journal must know it before it knows of further instances.
    fn reopen(&mut self, recalled: Option<Study>, group: &mut Group) -> Result<(), Refusal> {
        let Some(study) = recalled else { return Ok(()) };
        self.commit(std::mem::take(group));
        let entry = Entry::Study(Box::new(study));
        self.append(std::slice::from_ref(&entry))?;
        self.assembler.apply(entry);
        Ok(())
    }

    fn quarantine(&self, code: &'static str, action: impl FnOnce(&Spool) -> io::Result<()>) {
        self.metrics.quarantined(code);
        match action(&self.spool) {
            Ok(()) => tracing::warn!(code, "object set aside in quarantine"),
            Err(error) => tracing::error!(code, %error, "object could not be set aside and is removed"),
        }
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), Refusal> {
        self.journal.append(entries).map_err(|error| {
            tracing::error!(error = %chain(&error), "journal could not be written");
            match error {
                JournalError::Io(source) => Refusal::Spool { action: "write the journal", source },
                _ => Refusal::Stopped,
            }
        })
    }

    /// Makes a group durable, applies it and answers.
    fn commit(&mut self, group: Group) {
        let Group { entries, waiting } = group;
        if entries.is_empty() {
            return;
        }
        let synced = self.spool.sync_objects().map_err(Refusal::spool("fsync the object folder"));
        if synced.and_then(|()| self.append(&entries)).is_err() {
            for entry in &entries {
                if let Entry::Received(received) = entry
                    && let Err(error) = self.spool.remove_object(&received.instance.blob.sha256)
                {
                    tracing::error!(%error, "object of a failed journal write could not be removed");
                }
            }
            for (reply, _) in waiting {
                let source =
                    io::Error::other("the group of this object was not written; the log has the cause");
                answer_to(&reply, Err(Refusal::Spool { action: "write the journal", source }));
            }
            return;
        }
        let mut due = Vec::new();
        for entry in entries {
            if let Entry::Received(received) = &entry {
                self.metrics.received(received.instance.blob.bytes);
                due.extend(self.offers.wants(received));
            }
            self.assembler.apply(entry);
        }
        for (reply, receipt) in waiting {
            answer_to(&reply, Ok(receipt));
        }
        for one in due {
            self.offers.make(one, &self.assembler, &self.spool, &self.metrics);
        }
    }

    fn close(&mut self, study: &StudyUid) -> Result<Option<Revision>, Refusal> {
        let closing = self.assembler.closing(study, CompletionRule::Forced, Timestamp::now());
        let Some(Entry::Closed { study, closing }) = closing else { return Ok(None) };
        let revision = closing.revision;
        let entry = Entry::Closed { study, closing };
        self.append(std::slice::from_ref(&entry))?;
        self.applied_closing(entry, revision);
        Ok(Some(revision))
    }

    fn close_due(&mut self) -> Result<(), Refusal> {
        let due = self.assembler.due(Timestamp::now(), self.times);
        if !due.is_empty() {
            self.append(&due)?;
        }
        for entry in due {
            if let Entry::Closed { closing, .. } = &entry {
                let revision = closing.revision;
                self.applied_closing(entry, revision);
            }
        }
        Ok(())
    }

    fn applied_closing(&mut self, entry: Entry, revision: Revision) {
        self.metrics.closed(revision);
        self.assembler.apply(entry);
    }

    fn settle(&mut self, study: &StudyUid, revision: Revision, settled: Settled) -> Result<(), Refusal> {
        let Some(known) = self.assembler.study(study) else { return Ok(()) };
        let after = known.settled(revision);
        let objects: Vec<_> = known.new_in(revision).map(|instance| instance.blob.sha256).collect();
        // Archive before journal: a study must never be in neither.
        if after.is_idle() {
            self.spool.archive(&after).map_err(Refusal::spool("write the archive"))?;
        }
        let study = study.clone();
        let entry = match settled {
            Settled::Published => Entry::Published { study, revision },
            Settled::Refused { .. } => Entry::Refused { study, revision },
        };
        self.append(std::slice::from_ref(&entry))?;
        self.assembler.apply(entry);
        for digest in objects {
            match settled {
                Settled::Published => {
                    if let Err(error) = self.spool.remove_object(&digest) {
                        tracing::warn!(%error, "published object could not be removed; the next start removes it");
                    }
                }
                Settled::Refused { code } => {
                    self.quarantine(code, |spool| spool.quarantine_object(&digest, code));
                }
            }
        }
        Ok(())
    }

    fn feed_publisher(&mut self) {
        let Some(reply) = self.publisher.take() else { return };
        let Some((message, study)) = self.assembler.next_unsettled() else {
            self.publisher = Some(reply);
            return;
        };
        let fresh = study.new_in(message.study.revision).map(|instance| instance.blob.clone()).collect();
        answer_to(&reply, Unsettled { message, fresh });
    }

    pub(super) fn measure(&mut self) {
        self.measured = Instant::now();
        let spooled = self.assembler.studies().flat_map(Study::spooled);
        let (objects, bytes) =
            spooled.fold((0, 0), |(n, bytes), instance| (n + 1, bytes + instance.blob.bytes));
        self.metrics.depth(objects, bytes, self.assembler.open().len(), self.assembler.unsettled());
        self.metrics.room(self.spool.free().ok(), self.spool.reserve());
    }
}

/// Answers a request. Whoever asked may be gone (an association that was cut); what was done stays done.
fn answer_to<T>(reply: &Sender<T>, answer: T) {
    drop(reply.send(answer));
}
