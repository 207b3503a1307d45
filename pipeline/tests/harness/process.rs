//! The binary as a service and as a command, and the API of the running one.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use console::site::{Status, StudyRow, StudyTimeline};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, de::DeserializeOwned};
use tempfile::TempDir;

use super::{PATIENCE, eventually};

/// AE title that the test's modality sends under.
pub(crate) const MODALITY: &str = "PHANTOM";

/// The binary under test.
pub(crate) const PRESCREEN: &str = env!("CARGO_BIN_EXE_prescreen");

/// Bytes of a log shown when a test fails.
const LOG_TAIL: u64 = 8 << 10;

/// Where one process of a test keeps its state, and how it is configured.
pub(crate) struct Place {
    folder: TempDir,
    name: String,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
}

/// What the running process writes into `api.json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) pid: u32,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) broker: String,
    pub(crate) dicom: Option<SocketAddr>,
}

impl Place {
    /// Fresh folders and free ports, and the untrained model, which is asked once a study. No heartbeat: what tests count is theirs. A study that is not terminal
    /// counts as unaccounted at once, so that "unaccounted 0" says something.
    pub(crate) fn new(name: &str) -> Self {
        let settings = [
            "intake.listen=\"127.0.0.1:0\"",
            "console.listen=\"127.0.0.1:0\"",
            "intake.quiet_time=\"30min\"",
            "truth.deadline=\"1ms\"",
            "heartbeat.every=\"0s\"",
            "model.path=\"glm4v-untrained\"",
        ];
        let peers = format!("intake.peers=[{{ ae_title = \"{MODALITY}\", address = \"127.0.0.1\" }}]");
        Self {
            folder: tempfile::tempdir().unwrap(),
            name: name.to_owned(),
            settings: settings.iter().map(|&text| text.to_owned()).chain([peers]).collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn set(mut self, assignment: impl Into<String>) -> Self {
        self.settings.push(assignment.into());
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder of the test's own beside the data directory.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Everything the services of this place have printed.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PRESCREEN);
        command.args(arguments).arg("--data-dir").arg(self.data_dir()).current_dir(self.folder.path());
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts the service without waiting for anything.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Service {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command(arguments);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Service { child, name: self.name.clone(), log: self.log(), data_dir: self.data_dir(), agent: agent() }
    }

    /// Starts the whole service and waits until its API answers.
    pub(crate) fn start(&self) -> Service {
        let mut service = self.spawn(&["run"]);
        service.ready();
        service
    }

    /// What the process that runs here, or ran last, says about itself.
    pub(crate) fn entry(&self) -> Option<Entry> {
        entry(&self.data_dir())
    }

    /// The status, if somebody answers.
    pub(crate) fn get_status(&self) -> Option<Status> {
        let url = format!("{}/api/status", self.entry()?.url);
        agent().get(url).call().ok()?.body_mut().read_json().ok()
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(30))).build().into()
}

fn entry(data_dir: &Path) -> Option<Entry> {
    // Read while it is replaced, or left by a dead process: whoever asks looks again.
    serde_json::from_slice(&fs::read(data_dir.join("api.json")).ok()?).ok()
}

fn memory(pid: &str, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// A running process. Killed when dropped.
pub(crate) struct Service {
    child: Child,
    name: String,
    log: PathBuf,
    data_dir: PathBuf,
    agent: ureq::Agent,
}

impl Service {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the API answers.
    pub(crate) fn ready(&mut self) -> Entry {
        let pid = self.child.id();
        let (data_dir, agent) = (self.data_dir.clone(), self.agent.clone());
        self.until("the API answers", || {
            let entry = entry(&data_dir).filter(|entry| entry.pid == pid)?;
            agent.get(format!("{}/api/status", entry.url)).call().ok().map(|_| entry)
        })
    }

    /// Polls `look`; the process must live meanwhile.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let name = self.name.clone();
        eventually(&format!("{name}: {what}"), PATIENCE, || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended ({ended:?}) while waiting until {what}");
            look()
        })
    }

    pub(crate) fn entry(&self) -> Entry {
        entry(&self.data_dir).unwrap()
    }

    /// The body and status of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut answer = self.agent.get(format!("{}{path}", self.entry().url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.json("/api/status")
    }

    pub(crate) fn studies(&self) -> Vec<StudyRow> {
        self.json("/api/studies?limit=10000")
    }

    /// One study's timeline; nothing while the store has not heard of it.
    pub(crate) fn study(&self, uid: &str) -> Option<StudyTimeline> {
        let (status, body) = self.get(&format!("/api/studies/{uid}"));
        assert!(matches!(status, 200 | 404), "{status}: {body}");
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Waits for the terminal state of a study's first revision.
    pub(crate) fn terminal(&mut self, uid: &str) -> StudyRow {
        let (data_dir, agent) = (self.data_dir.clone(), self.agent.clone());
        self.until(&format!("study {uid} is terminal"), || {
            let url = format!("{}/api/studies/{uid}", entry(&data_dir)?.url);
            let timeline: StudyTimeline = agent.get(url).call().ok()?.body_mut().read_json().ok()?;
            timeline.revisions.into_iter().find(|row| row.revision == 1 && row.state != "in_progress")
        })
    }

    /// The sum of a metric over the label sets that contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let values = lines.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit_once(' '));
        values.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// A line of `/proc/PID/status` in bytes: `VmRSS` now, `VmHWM` at most.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        memory(&self.child.id().to_string(), line).unwrap()
    }

    /// The most that any one process started by this one has held so far, in bytes.
    pub(crate) fn children_peak(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        let children: Vec<String> = children
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        children.iter().filter_map(|pid| memory(pid, "VmHWM")).max().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it as a power cut would, as far as the process is concerned.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Waits for its end by itself.
    pub(crate) fn ended(&mut self, patience: Duration) -> ExitStatus {
        eventually(&format!("{} ends", self.name), patience, || self.child.try_wait().unwrap())
    }

    /// Asks it to drain, and waits.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(PATIENCE);
        assert_eq!(status.code(), Some(0), "{} drains with exit 0", self.name);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- the end of the log of {} ---\n{}", self.name, tail(&self.log));
        }
    }
}

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

/// What a command printed.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command said on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
