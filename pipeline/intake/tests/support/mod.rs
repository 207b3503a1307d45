//! What the tests share: DICOM objects made by hand, an intake on a temporary directory, an SCP on a free port, and
//! an `Announce` that records what arrives.

#![expect(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use intake::{
    Announce, AnnounceError, Backoff, CompletionTimes, Intake, IntakeConfig, IntakeMetrics, Publisher,
    scp::{self, Access, Peer, ScpConfig},
    scu::{self, Destination, Sent},
};
use pixels::Identity;
use prometheus::Registry;
use schemas::{Cause, EventId, Priority, RunId, StudyAcquired, StudyUid};
use stage::testing::MemoryBlobs;
use tokio::{runtime::Runtime, sync::watch};

pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const H264: &str = "1.2.840.10008.1.2.4.102";
pub(crate) const US_MULTIFRAME: &str = "1.2.840.10008.5.1.4.1.1.3.1";
pub(crate) const COMPREHENSIVE_3D_SR: &str = "1.2.840.10008.5.1.4.1.1.88.34";
pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";

/// No wait in a test is ever meant to take this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A DICOM object, explicit VR little endian.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) study: String,
    pub(crate) series: String,
    pub(crate) instance: String,
    pub(crate) sop_class: String,
    pub(crate) transfer_syntax: String,
    pub(crate) modality: String,
    pub(crate) pixels: Option<Vec<u8>>,
    pub(crate) synthetic: bool,
}

impl Object {
    pub(crate) fn new(study: &str, instance: &str) -> Self {
        Self {
            study: format!("1.2.826.0.1.{study}"),
            series: format!("1.2.826.0.1.{study}.7"),
            instance: format!("1.2.826.0.1.{study}.7.{instance}"),
            sop_class: US_MULTIFRAME.to_owned(),
            transfer_syntax: EXPLICIT.to_owned(),
            modality: "US".to_owned(),
            pixels: Some(vec![7; 64]),
            synthetic: false,
        }
    }

    pub(crate) fn with_pixels(mut self, pixels: Vec<u8>) -> Self {
        self.pixels = Some(pixels);
        self
    }

    pub(crate) fn study_uid(&self) -> StudyUid {
        StudyUid::new(&self.study).unwrap()
    }

    pub(crate) fn data_set(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        element(&mut bytes, (0x0008, 0x0016), "UI", self.sop_class.as_bytes());
        element(&mut bytes, (0x0008, 0x0018), "UI", self.instance.as_bytes());
        element(&mut bytes, (0x0008, 0x0060), "CS", self.modality.as_bytes());
        element(&mut bytes, (0x0010, 0x0010), "PN", b"Hidden^Patient");
        element(&mut bytes, (0x0010, 0x0020), "LO", b"SECRET-1");
        element(&mut bytes, (0x0020, 0x000D), "UI", self.study.as_bytes());
        element(&mut bytes, (0x0020, 0x000E), "UI", self.series.as_bytes());
        if self.synthetic {
            element(&mut bytes, (0x0099, 0x0010), "LO", b"PRESCREEN PHANTOM");
            element(&mut bytes, (0x0099, 0x1001), "CS", b"YES");
        }
        if let Some(pixels) = &self.pixels {
            element(&mut bytes, (0x7FE0, 0x0010), "OB", pixels);
        }
        bytes
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        element(&mut bytes, (0x0002, 0x0010), "UI", self.transfer_syntax.as_bytes());
        bytes.extend_from_slice(&self.data_set());
        bytes
    }

    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.dcm", self.instance));
        fs::write(&path, self.file()).unwrap();
        path
    }
}

pub(crate) fn element(bytes: &mut Vec<u8>, (group, number): (u16, u16), vr: &str, value: &[u8]) {
    bytes.extend_from_slice(&group.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(vr.as_bytes());
    let length = value.len().next_multiple_of(2);
    if vr == "OB" {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
    } else {
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len() + length - value.len(), if matches!(vr, "UI" | "OB") { 0 } else { b' ' });
}

/// An intake with its owner thread and registry.
pub(crate) struct Running {
    pub(crate) intake: Intake,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) registry: Registry,
    pub(crate) directory: PathBuf,
}

pub(crate) fn config(directory: &Path) -> IntakeConfig {
    IntakeConfig {
        directory: directory.to_owned(),
        min_free: 0,
        max_object: 64 << 20,
        completion: CompletionTimes { quiet: Duration::from_hours(1), cap: Duration::from_hours(2) },
        remember: Duration::from_hours(24),
    }
}

pub(crate) fn start(directory: &Path) -> Running {
    start_with(config(directory))
}

pub(crate) fn start_with(config: IntakeConfig) -> Running {
    let registry = Registry::new();
    let directory = config.directory.clone();
    let metrics = IntakeMetrics::new(&registry).unwrap();
    let (intake, thread) = Intake::start(config, metrics, jiff::Timestamp::now()).unwrap();
    Running { intake, thread, registry, directory }
}

impl Running {
    /// Ends the owner thread; what it acknowledged is on disk.
    pub(crate) fn end(self) {
        drop(self.intake);
        self.thread.join().unwrap();
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.directory, folder)
    }

    pub(crate) fn receive(&self, object: &Object) -> Result<intake::Receipt, intake::Refusal> {
        let mut results = Vec::new();
        self.intake.receive_bytes(
            Path::new("object"),
            &object.file(),
            intake::FileOptions::default(),
            &mut |report| {
                results.push(report.result);
            },
        );
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    /// The value of a counter or gauge with this label value, 0 if there is none.
    pub(crate) fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(prometheus::proto::MetricFamily::get_metric).unwrap_or_default();
        let found = metrics.iter().find(|metric| {
            label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label))
        });
        found.map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

pub(crate) fn files(directory: &Path, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Copies a spool as it stands: what a kill at this moment would leave.
pub(crate) fn snapshot(from: &Path, to: &Path) {
    for folder in ["incoming", "objects", "archive", "quarantine"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for path in files(from, folder) {
            fs::copy(&path, to.join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::copy(from.join("journal"), to.join("journal")).unwrap();
}

/// What the recorder saw.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Acquired(StudyAcquired, EventId),
    Refused(StudyUid, EventId, Cause, String),
    Identity(StudyUid, Identity),
}

type Answer = Box<dyn FnMut(&Event) -> Result<(), AnnounceError> + Send>;

/// Records what is announced, after asking `answer` what to say.
pub(crate) struct Recorder {
    events: Sender<Event>,
    answer: Answer,
}

impl Recorder {
    fn announce(&mut self, event: Event) -> Result<(), AnnounceError> {
        (self.answer)(&event)?;
        self.events.send(event).unwrap();
        Ok(())
    }
}

impl Announce for Recorder {
    fn acquired(&mut self, message: &StudyAcquired, id: EventId) -> Result<(), AnnounceError> {
        self.announce(Event::Acquired(message.clone(), id))
    }

    fn refused(
        &mut self,
        message: &StudyAcquired,
        id: EventId,
        cause: Cause,
        detail: &str,
    ) -> Result<(), AnnounceError> {
        let study = message.study.study_uid.clone();
        self.announce(Event::Refused(study, id, cause, detail.to_owned()))
    }

    fn identity(&mut self, study: &StudyUid, identity: &Identity) -> Result<(), AnnounceError> {
        self.announce(Event::Identity(study.clone(), identity.clone()))
    }
}

/// A running publisher.
pub(crate) struct Publishing {
    pub(crate) events: Receiver<Event>,
    pub(crate) blobs: Arc<MemoryBlobs>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Publishing {
    pub(crate) fn start(intake: &Intake) -> Self {
        Self::start_with(intake, Box::new(|_| Ok(())))
    }

    pub(crate) fn start_with(intake: &Intake, answer: Answer) -> Self {
        let (events, seen) = bounded(1_000);
        let (stop, stopped) = bounded(1);
        let blobs = Arc::new(MemoryBlobs::default());
        let publisher = Publisher {
            intake: intake.clone(),
            announce: Recorder { events, answer },
            blobs: Arc::clone(&blobs) as Arc<dyn stage::Blobs>,
            run: RunId::live(),
            backoff: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) },
        };
        let thread = publisher.start(stopped).unwrap();
        Self { events: seen, blobs, stop, thread }
    }

    pub(crate) fn acquired(&self) -> (StudyAcquired, EventId) {
        loop {
            if let Event::Acquired(message, id) = self.events.recv_timeout(PATIENCE).unwrap() {
                return (message, id);
            }
        }
    }

    pub(crate) fn refused(&self) -> (StudyUid, EventId, Cause, String) {
        loop {
            if let Event::Refused(study, id, cause, detail) = self.events.recv_timeout(PATIENCE).unwrap() {
                return (study, id, cause, detail);
            }
        }
    }

    pub(crate) fn identity(&self) -> (StudyUid, Identity) {
        loop {
            if let Event::Identity(study, identity) = self.events.recv_timeout(PATIENCE).unwrap() {
                return (study, identity);
            }
        }
    }

    pub(crate) fn end(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}

/// An `answer` that takes its results from a list, then says yes.
pub(crate) fn script(answers: Vec<Result<(), AnnounceError>>) -> Answer {
    let answers = Mutex::new(VecDeque::from(answers));
    Box::new(move |_| answers.lock().unwrap().pop_front().unwrap_or(Ok(())))
}

/// An SCP on a free port of the loopback.
pub(crate) struct Serving {
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

pub(crate) fn peer(ae_title: &str, access: Access) -> Peer {
    Peer { ae_title: ae_title.to_owned(), address: None, access, priority: Priority::Routine }
}

pub(crate) fn scp_config() -> ScpConfig {
    ScpConfig::new("PRESCREEN", vec![peer("MODALITY", Access::Store), peer("MONITOR", Access::Verify)])
}

impl Serving {
    pub(crate) fn start(intake: &Intake) -> Self {
        Self::start_with(intake, scp_config())
    }

    pub(crate) fn start_with(intake: &Intake, config: ScpConfig) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(scp::bind(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(scp::serve(listener, config, intake.clone(), stopped));
        Self { runtime, address, stop, task }
    }

    pub(crate) fn destination(&self) -> Destination {
        Destination {
            address: self.address,
            called_ae_title: "PRESCREEN".to_owned(),
            calling_ae_title: "MODALITY".to_owned(),
            timeout: PATIENCE,
        }
    }

    pub(crate) fn send(&self, files: &[PathBuf]) -> Result<Vec<u16>, scu::SendError> {
        let mut statuses = Vec::new();
        let mut sent = |sent: Sent| statuses.push(sent.status);
        self.runtime.block_on(scu::send(files, &self.destination(), &mut sent))?;
        Ok(statuses)
    }

    /// Stops and waits until every association has ended.
    pub(crate) fn end(self) {
        self.stop.send(true).unwrap();
        self.runtime.block_on(self.task).unwrap();
    }
}
