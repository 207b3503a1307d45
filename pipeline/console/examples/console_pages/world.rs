//! A running system in memory: it answers what it is filled with, keeps what it is told, and writes down what it was asked
//! to do. The example fills it with a lively hospital, the tests with what they are about.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use console::site::{
    Arrival, BeginReplay, ConfirmedStudy, DeadLetterFilter, DeadLetterRow, DoneStep, EndReplay, GraphNode,
    HistoryPoint, KeepReport, Promote, Promoted, Received, Redrive, RedriveRequest, Redriven, ReplayRun,
    Replays, Sender, Site, SiteError, StateCounts, Status, StudyFilter, StudyRow, StudyTimeline, TapRequest,
    TappedRecord, UploadOptions, Watch,
};
use jiff::Timestamp;
use replay::result::StageResult;
use schemas::{Area, BlobRef, Digest, InstanceUid, Revision, RunId, StudyUid};

/// The system.
pub(crate) struct World {
    pub(crate) status: fn(&World) -> Status,
    pub(crate) history: fn(&World) -> Vec<HistoryPoint>,
    pub(crate) graph: Vec<GraphNode>,
    /// Each with all its revisions, newest first.
    pub(crate) studies: Vec<StudyTimeline>,
    /// By sender, newest first.
    pub(crate) arrivals: Vec<(String, Vec<Arrival>)>,
    pub(crate) picture: fn(&BlobRef) -> Option<Vec<u8>>,
    pub(crate) dead_letters: Mutex<Vec<DeadLetterRow>>,
    /// Each with its report.
    pub(crate) runs: Vec<(ReplayRun, Option<String>)>,
    pub(crate) paused: Mutex<BTreeSet<String>>,
    /// What it was asked to do, in words, in order.
    pub(crate) told: Mutex<Vec<String>>,
    pub(crate) database_is_down: AtomicBool,
}

/// The catalogue as it is.
pub(crate) fn graph() -> Vec<GraphNode> {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let node = |name: &str, reads: &[&str], writes: &[&str]| GraphNode {
        name: name.to_owned(),
        reads: texts(reads),
        writes: texts(writes),
    };
    let rejected = "study.rejected.v1";
    vec![
        node("intake", &[], &["study.acquired.v1", "instance.gated.v1"]),
        node("quality_gate", &["study.acquired.v1"], &["study.accepted.v1", rejected]),
        node("keyframes", &["study.accepted.v1"], &["keyframes.extracted.v1", rejected]),
        node("inference", &["keyframes.extracted.v1"], &["findings.inferred.v1", rejected]),
        node("reporting", &["findings.inferred.v1"], &["report.issued.v1", rejected]),
        node(
            "store",
            &[
                "study.acquired.v1",
                "instance.gated.v1",
                "study.accepted.v1",
                "keyframes.extracted.v1",
                "findings.inferred.v1",
                "report.issued.v1",
                rejected,
            ],
            &[],
        ),
    ]
}

impl Default for World {
    /// A system that has seen nothing yet.
    fn default() -> Self {
        Self {
            status: |_| Status {
                at: Timestamp::UNIX_EPOCH,
                studies: StateCounts::default(),
                spooled: 0,
                stages: Vec::new(),
            },
            history: |_| Vec::new(),
            graph: graph(),
            studies: Vec::new(),
            arrivals: Vec::new(),
            picture: |_| None,
            dead_letters: Mutex::default(),
            runs: Vec::new(),
            paused: Mutex::default(),
            told: Mutex::default(),
            database_is_down: AtomicBool::new(false),
        }
    }
}

/// What a lock guards; a test that panicked elsewhere changes nothing about it.
pub(crate) fn of<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn told(&self, what: String) {
        of(&self.told).push(what);
    }

    fn database(&self) -> Result<(), SiteError> {
        if self.database_is_down.load(Ordering::Relaxed) {
            return Err(SiteError::Unavailable { part: "database" });
        }
        Ok(())
    }
}

impl Site for World {
    fn auth_failed(&self) {
        self.told("auth failed".to_owned());
    }

    fn status(&self) -> Result<Status, SiteError> {
        self.database()?;
        Ok((self.status)(self))
    }

    fn studies(&self, filter: &StudyFilter) -> Result<Vec<StudyRow>, SiteError> {
        self.database()?;
        let wanted = |row: &&StudyRow| {
            filter.state.as_ref().is_none_or(|state| row.state == *state)
                && filter.study_uid.as_ref().is_none_or(|uid| row.study_uid == uid.as_str())
                && filter.since.is_none_or(|since| row.received_at.is_some_and(|at| at >= since))
        };
        let limit = if filter.limit == 0 { 100 } else { filter.limit as usize };
        let mut rows: Vec<StudyRow> =
            self.studies.iter().flat_map(|study| &study.revisions).filter(wanted).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.received_at));
        rows.truncate(limit);
        Ok(rows)
    }

    fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, SiteError> {
        self.database()?;
        let is_it = |row: &StudyRow| row.study_uid == study.as_str();
        Ok(self.studies.iter().find(|known| known.revisions.iter().any(is_it)).cloned())
    }

    fn senders(&self) -> Result<Vec<Sender>, SiteError> {
        let sender = |(ae_title, arrivals): &(String, Vec<Arrival>)| Sender {
            ae_title: ae_title.clone(),
            instances: arrivals.len() as i64,
            last_received_at: arrivals
                .first()
                .map_or(Timestamp::UNIX_EPOCH, |arrival| arrival.gate.received_at),
        };
        Ok(self.arrivals.iter().map(sender).collect())
    }

    fn arrivals(&self, ae_title: &str, limit: u32) -> Result<Vec<Arrival>, SiteError> {
        self.told(format!("arrivals of {ae_title}: {limit}"));
        let sender = self.arrivals.iter().find(|(name, _)| name == ae_title);
        Ok(sender
            .map(|(_, arrivals)| arrivals.iter().take(limit as usize).cloned().collect())
            .unwrap_or_default())
    }

    fn confirmed_studies(&self, skip: u32, limit: u32) -> Result<Vec<ConfirmedStudy>, SiteError> {
        self.told(format!("confirmed after {skip}: {limit}"));
        Ok(Vec::new())
    }

    fn picture(&self, picture: &BlobRef) -> Result<Option<Vec<u8>>, SiteError> {
        if picture.area != Area::Frames {
            return Err(SiteError::Refused("no page can name another area".to_owned()));
        }
        Ok((self.picture)(picture))
    }

    fn metrics(&self) -> String {
        "prescreen_build_info 1\n".to_owned()
    }

    fn receive(&self, file: &Path, options: &UploadOptions) -> Result<Vec<Received>, SiteError> {
        let bytes = fs::read(file).map_err(|_| SiteError::Refused("file cannot be read".to_owned()))?;
        self.told(format!("receive {} {options:?}", Digest::of(&bytes)));
        let uid = |_| SiteError::Refused("no uid".to_owned());
        let study_uid = StudyUid::new("2.25.1").map_err(uid)?;
        let instance_uid = InstanceUid::new("2.25.2").map_err(uid)?;
        Ok(vec![Received::Stored { study_uid, instance_uid }])
    }

    fn close(&self, study: &StudyUid) -> Result<Option<Revision>, SiteError> {
        self.told(format!("close {study}"));
        Ok(Some(Revision::FIRST))
    }
}

impl Watch for World {
    fn graph(&self) -> Vec<GraphNode> {
        self.graph.clone()
    }

    fn history(&self) -> Result<Vec<HistoryPoint>, SiteError> {
        Ok((self.history)(self))
    }

    fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRow>, SiteError> {
        self.database()?;
        let wanted = |letter: &&DeadLetterRow| {
            filter.topic.as_ref().is_none_or(|topic| letter.topic == *topic)
                && filter.cause.as_ref().is_none_or(|cause| letter.cause == *cause)
                && (filter.redriven || letter.redriven_at.is_none())
        };
        let limit = if filter.limit == 0 { 100 } else { filter.limit as usize };
        Ok(of(&self.dead_letters).iter().filter(wanted).take(limit).cloned().collect())
    }

    /// A letter of cause `lost_bytes` is lost, one without a study has no origin, one that a crash left is not needed again.
    fn redrive(&self, request: &RedriveRequest) -> Result<Redriven, SiteError> {
        self.told(format!("redrive {request:?}"));
        let mut redriven = Redriven { letters: Vec::new(), audit_id: None };
        for letter in of(&self.dead_letters).iter_mut() {
            let position = (letter.dlq_topic.clone(), letter.dlq_partition, letter.dlq_offset);
            let wanted = letter.redriven_at.is_none()
                && request.topic.as_ref().is_none_or(|topic| letter.topic == *topic)
                && request.cause.as_ref().is_none_or(|cause| letter.cause == *cause)
                && request.one.as_ref().is_none_or(|one| *one == position);
            if !wanted {
                continue;
            }
            let became = match letter.cause.as_str() {
                "lost_bytes" => Redrive::Lost,
                "worker_crash" => Redrive::Duplicate,
                _ if letter.study_uid.is_none() => Redrive::NoOrigin,
                _ => Redrive::Sent,
            };
            if became == Redrive::Sent && !request.dry_run {
                letter.redriven_at = Some(Timestamp::now());
                redriven.audit_id = Some(42);
            }
            redriven.letters.push((letter.clone(), became));
        }
        Ok(redriven)
    }

    fn tap(&self, request: &TapRequest) -> Result<Vec<TappedRecord>, SiteError> {
        self.told(format!("tap {request:?}"));
        if !self.graph.iter().any(|node| node.reads.contains(&request.topic)) {
            return Err(SiteError::Refused(format!("there is no topic {:?}", request.topic)));
        }
        let record = TappedRecord {
            partition: 0,
            offset: 7,
            at: Some(Timestamp::UNIX_EPOCH),
            headers: [("ce_subject".to_owned(), "#5f3a".to_owned())].into(),
            message: Some(serde_json::json!({ "study": { "study_uid": "#5f3a" } })),
            bytes: 36,
        };
        Ok(vec![record])
    }

    fn set_paused(&self, stage: &str, paused: bool, by: &str) -> Result<(), SiteError> {
        if stage == "intake" {
            return Err(SiteError::Refused("intake is no stage: it takes what is sent".to_owned()));
        }
        self.told(format!("{} {stage} by {by}", if paused { "pause" } else { "resume" }));
        let mut stages = of(&self.paused);
        if paused {
            stages.insert(stage.to_owned());
        } else {
            stages.remove(stage);
        }
        Ok(())
    }
}

/// Replay runs are read by the pages only; what writes them is the API's own matter.
impl Replays for World {
    fn replays(&self) -> Result<Vec<ReplayRun>, SiteError> {
        Ok(self.runs.iter().map(|(run, _)| run.clone()).collect())
    }

    fn replay(&self, run: &RunId) -> Result<Option<ReplayRun>, SiteError> {
        Ok(self.runs.iter().map(|(known, _)| known).find(|known| known.run_id == *run).cloned())
    }

    fn replay_report(&self, run: &RunId) -> Result<Option<String>, SiteError> {
        Ok(self.runs.iter().find(|(known, _)| known.run_id == *run).and_then(|(_, report)| report.clone()))
    }

    fn replay_plan(&self, _: &RunId) -> Result<Option<String>, SiteError> {
        Ok(None)
    }

    fn begin_replay(&self, begin: &BeginReplay) -> Result<ReplayRun, SiteError> {
        self.told(format!("begin {} by {}", begin.run_id, begin.started_by));
        let run = self.runs.iter().find(|(known, _)| known.run_id == begin.run_id);
        run.map(|(run, _)| run.clone()).ok_or_else(|| SiteError::Refused("there is no such plan".to_owned()))
    }

    fn keep_results(&self, run: &RunId, results: &[StageResult]) -> Result<(), SiteError> {
        self.told(format!("keep {} rows of {run}", results.len()));
        Ok(())
    }

    fn done_steps(&self, _: &RunId) -> Result<Vec<DoneStep>, SiteError> {
        Ok(Vec::new())
    }

    fn results(&self, _: &RunId, _: u32, _: u32) -> Result<Vec<StageResult>, SiteError> {
        Ok(Vec::new())
    }

    fn live_results(&self, _: &[StudyUid]) -> Result<Vec<StageResult>, SiteError> {
        Ok(Vec::new())
    }

    fn end_replay(&self, run: &RunId, end: &EndReplay) -> Result<(), SiteError> {
        self.told(format!("end {run} {:?}", end.state));
        Ok(())
    }

    fn keep_report(&self, run: &RunId, report: &KeepReport) -> Result<Digest, SiteError> {
        self.told(format!("keep report of {run}"));
        Ok(Digest::of(report.json.as_bytes()))
    }

    fn promote(&self, run: &RunId, promote: &Promote) -> Result<Promoted, SiteError> {
        self.told(format!("promote {run} by {}", promote.by));
        Ok(Promoted { audit_id: 43, config: String::new() })
    }
}
