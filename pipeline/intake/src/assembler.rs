//! When is a study complete? A plain structure of entries applied in order, with time passed in.
//!
//! ```text
//!              received                quiet time, hard cap, forced               published | refused
//!   (unknown) ─────────▶ open ────────────────────────────────────▶ closed, revision n ──────────▶ idle: leaves memory
//!                         ▲  late instance                               │
//!                         └────────── open for revision n+1 ◀────────────┘   (n may still wait for the publisher)
//! ```
//! Invariants:
//! - The state is a function of the entries applied; the journal holds the same entries, so a restart gives the same state.
//! - A revision lists every instance that arrived up to its closing, those of earlier revisions too.
//! - Priority is the most urgent one seen until the first closing, and fixed from then on.
//! - Revisions of a study are published in order.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use schemas::{
    AcquiredInstance, Completion, CompletionRule, Domain, InstanceUid, Priority, ReceivedFrom, Revision,
    StudyAcquired, StudyHead, StudyUid,
};
use serde::{Deserialize, Serialize};

use crate::filing::Instance;

/// When an open study is taken as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionTimes {
    /// Nothing arrived for this long.
    pub quiet: Duration,
    /// Open for this long, whatever still arrives.
    pub cap: Duration,
}

/// One fact. The journal is a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// A study as a whole: from a compaction, or back from the archive.
    Study(Box<Study>),
    /// An instance was filed.
    Received(Box<Received>),
    /// No further instance is waited for.
    Closed { study: StudyUid, closing: Closing },
    /// A revision was announced; its objects may go.
    Published { study: StudyUid, revision: Revision },
    /// A revision was refused for good; its objects are in quarantine.
    Refused { study: StudyUid, revision: Revision },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Received {
    pub(crate) study: StudyUid,
    pub(crate) instance: Instance,
    pub(crate) synthetic: bool,
    pub(crate) priority: Priority,
    pub(crate) from: ReceivedFrom,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closing {
    pub(crate) revision: Revision,
    pub(crate) completion: Completion,
    pub(crate) from: ReceivedFrom,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filed {
    instance: Instance,
    /// The revision that lists it first.
    revision: Revision,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    first: Timestamp,
    last: Timestamp,
}

/// One study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Study {
    pub(crate) uid: StudyUid,
    pub(crate) synthetic: bool,
    priority: Priority,
    from: ReceivedFrom,
    instances: BTreeMap<InstanceUid, Filed>,
    open: Option<Open>,
    /// The last closing.
    closed: Option<Revision>,
    /// Closings not yet settled, oldest first.
    unsettled: VecDeque<Closing>,
}

impl Study {
    fn new(received: &Received) -> Self {
        Self {
            uid: received.study.clone(),
            synthetic: received.synthetic,
            priority: received.priority,
            from: received.from.clone(),
            instances: BTreeMap::new(),
            open: None,
            closed: None,
            unsettled: VecDeque::new(),
        }
    }

    fn next_revision(&self) -> Revision {
        self.closed.map_or(Revision::FIRST, Revision::next)
    }

    fn receive(&mut self, received: Received) {
        if self.closed.is_none() {
            self.priority = self.priority.min(received.priority);
        }
        self.from = received.from;
        let first = self.open.map_or(received.at, |open| open.first);
        self.open = Some(Open { first, last: received.at });
        let filed = Filed { instance: received.instance, revision: self.next_revision() };
        self.instances.entry(filed.instance.uid.clone()).or_insert(filed);
    }

    fn close(&mut self, closing: Closing) {
        self.open = None;
        self.closed = Some(closing.revision);
        self.unsettled.push_back(closing);
    }

    fn settle(&mut self, revision: Revision) {
        self.unsettled.retain(|closing| closing.revision != revision);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.unsettled.is_empty()
    }

    /// How an instance that arrives now stands against the study.
    pub(crate) fn standing(&self, instance: &Instance, synthetic: bool) -> Standing {
        match self.instances.get(&instance.uid) {
            Some(known) if known.instance.is_same_object(instance) => Standing::Duplicate,
            Some(_) => Standing::Conflict,
            None if self.synthetic != synthetic => Standing::SyntheticMix,
            None => Standing::New,
        }
    }

    /// The study as it will be once `revision` is settled.
    pub(crate) fn settled(&self, revision: Revision) -> Self {
        let mut study = self.clone();
        study.settle(revision);
        study
    }

    /// Instances that `revision` lists for the first time: their bytes are still in the spool.
    pub(crate) fn new_in(&self, revision: Revision) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(move |filed| filed.revision == revision).map(|filed| &filed.instance)
    }

    /// One instance as the manifest will list it, under the head of the revision that lists it first and with the
    /// instance's own domain.
    pub(crate) fn listed(&self, instance: &InstanceUid) -> Option<(StudyHead, AcquiredInstance)> {
        let filed = self.instances.get(instance)?;
        let head = StudyHead {
            study_uid: self.uid.clone(),
            revision: filed.revision,
            priority: self.priority,
            domain: filed.instance.domain,
            synthetic: self.synthetic,
        };
        Some((head, acquired(&filed.instance)))
    }

    /// Instances whose bytes must be in the spool.
    pub(crate) fn spooled(&self) -> impl Iterator<Item = &Instance> {
        let settled = match (self.unsettled.front(), self.closed) {
            (Some(oldest), _) => oldest.revision.0.saturating_sub(1),
            (None, closed) => closed.map_or(0, |revision| revision.0),
        };
        self.instances.values().filter(move |filed| filed.revision.0 > settled).map(|filed| &filed.instance)
    }

    fn due(&self, now: Timestamp, times: CompletionTimes) -> Option<CompletionRule> {
        let open = self.open?;
        if elapsed(open.last, now) >= times.quiet {
            Some(CompletionRule::IdleTimeout)
        } else if elapsed(open.first, now) >= times.cap {
            Some(CompletionRule::HardCap)
        } else {
            None
        }
    }

    fn message(&self, closing: &Closing) -> StudyAcquired {
        let listed = self.instances.values().filter(|filed| filed.revision <= closing.revision);
        let instances: Vec<_> = listed.map(|filed| acquired(&filed.instance)).collect();
        let has = |domain| {
            let mut listed = self.instances.values().filter(|filed| filed.revision <= closing.revision);
            listed.any(|filed| filed.instance.domain == domain)
        };
        let domain = [Domain::Echo, Domain::Pathology].into_iter().find(|domain| has(*domain));
        StudyAcquired {
            study: StudyHead {
                study_uid: self.uid.clone(),
                revision: closing.revision,
                priority: self.priority,
                domain: domain.unwrap_or(Domain::Unknown),
                synthetic: self.synthetic,
            },
            completion: closing.completion.clone(),
            received_from: closing.from.clone(),
            instances,
        }
    }
}

fn acquired(instance: &Instance) -> AcquiredInstance {
    AcquiredInstance {
        series_uid: instance.series.clone(),
        instance_uid: instance.uid.clone(),
        sop_class_uid: instance.sop_class.clone(),
        transfer_syntax_uid: instance.transfer_syntax.clone(),
        frames: instance.frames,
        blob: instance.blob.clone(),
        not_analysable: instance.not_analysable,
    }
}

/// Zero where the clock was set back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

/// A study still waiting for instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStudy {
    /// Study Instance UID.
    pub study_uid: StudyUid,
    /// The revision it will close as.
    pub revision: Revision,
    /// Instances so far.
    pub instances: usize,
    /// When the first instance of this revision arrived.
    pub first: Timestamp,
    /// When the last one arrived.
    pub last: Timestamp,
}

/// Where an instance stands against what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    New,
    Duplicate,
    Conflict,
    SyntheticMix,
}

/// The studies that are open or wait for the publisher.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    studies: HashMap<StudyUid, Study>,
}

impl Assembler {
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Study(study) => {
                self.studies.insert(study.uid.clone(), *study);
            }
            Entry::Received(received) => {
                let study =
                    self.studies.entry(received.study.clone()).or_insert_with(|| Study::new(&received));
                study.receive(*received);
            }
            Entry::Closed { study, closing } => {
                if let Some(study) = self.studies.get_mut(&study) {
                    study.close(closing);
                }
            }
            Entry::Published { study, revision } | Entry::Refused { study, revision } => {
                if let Some(known) = self.studies.get_mut(&study) {
                    known.settle(revision);
                    if known.is_idle() {
                        self.studies.remove(&study);
                    }
                }
            }
        }
    }

    pub(crate) fn study(&self, uid: &StudyUid) -> Option<&Study> {
        self.studies.get(uid)
    }

    pub(crate) fn studies(&self) -> impl Iterator<Item = &Study> {
        self.studies.values()
    }

    /// Closings that are due.
    pub(crate) fn due(&self, now: Timestamp, times: CompletionTimes) -> Vec<Entry> {
        let due = |study: &Study| study.due(now, times).and_then(|rule| self.closing(&study.uid, rule, now));
        self.studies.values().filter_map(due).collect()
    }

    /// Time until the next closing is due; `None` if no study is open.
    pub(crate) fn next_due(&self, now: Timestamp, times: CompletionTimes) -> Option<Duration> {
        let left = |open: Open| {
            let quiet = times.quiet.saturating_sub(elapsed(open.last, now));
            quiet.min(times.cap.saturating_sub(elapsed(open.first, now)))
        };
        self.studies.values().filter_map(|study| study.open).map(left).min()
    }

    /// The entry that closes `study` now, if it is open.
    pub(crate) fn closing(&self, study: &StudyUid, rule: CompletionRule, now: Timestamp) -> Option<Entry> {
        let known = self.studies.get(study)?;
        known.open?;
        let completion = Completion { rule, closed_at: now };
        let closing = Closing { revision: known.next_revision(), completion, from: known.from.clone() };
        Some(Entry::Closed { study: study.clone(), closing })
    }

    /// The revision to publish next: urgent before routine, then the one closed first. The oldest of a study only.
    pub(crate) fn next_unsettled(&self) -> Option<(StudyAcquired, &Study)> {
        let candidates = self.studies.values().filter_map(|study| Some((study, study.unsettled.front()?)));
        let (study, closing) =
            candidates.min_by_key(|(study, closing)| (study.priority, closing.completion.closed_at))?;
        Some((study.message(closing), study))
    }

    pub(crate) fn unsettled(&self) -> usize {
        self.studies.values().map(|study| study.unsettled.len()).sum()
    }

    /// Open studies, the one that waits longest first.
    pub(crate) fn open(&self) -> Vec<OpenStudy> {
        let shown = |study: &Study| {
            study.open.map(|open| OpenStudy {
                study_uid: study.uid.clone(),
                revision: study.next_revision(),
                instances: study.instances.len(),
                first: open.first,
                last: open.last,
            })
        };
        let mut open: Vec<_> = self.studies.values().filter_map(shown).collect();
        open.sort_by_key(|study| study.first);
        open
    }
}

#[cfg(test)]
mod tests;
