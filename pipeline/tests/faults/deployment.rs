//! A site in small: one edge process, worker processes, real parts.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::harness::{
    flight::STAGES,
    process::{Place, Service, stderr},
    studies::{make, small, submit},
};

/// The topics and the database are shared: one test at a time.
static PARTS: Mutex<()> = Mutex::new(());

/// A variable that the tests cannot do without.
fn required(name: &str) -> String {
    variable(name).unwrap_or_else(|| panic!("{name} is not set; see the top of tests/faults/main.rs"))
}

#[expect(clippy::disallowed_methods, reason = "how a test is told of the parts it shall use")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A size of the test.
pub(crate) fn size(name: &str, default: u64) -> u64 {
    variable(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, no number")))
}

/// The real parts, exclusively.
pub(crate) struct Parts {
    kafka: String,
    postgres: String,
    folder: PathBuf,
    blobs: TempDir,
    /// Where the seeds of this test's studies begin; another one in each run, as the topics keep what they have.
    pub(crate) seed: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Parts {
    /// Takes the parts; topics and tables are made where they are missing.
    pub(crate) fn take() -> Self {
        let alone = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let now = jiff::Timestamp::now().as_millisecond() as u64;
        let parts = Self {
            kafka: required("PRESCREEN_TEST_KAFKA"),
            postgres: required("PRESCREEN_TEST_POSTGRES"),
            folder: PathBuf::from(required("PRESCREEN_TEST_PARTS")),
            blobs: tempfile::tempdir().unwrap(),
            seed: size("PRESCREEN_TEST_SEED", now),
            _alone: alone,
        };
        println!("PRESCREEN_TEST_SEED={}", parts.seed);
        let place = parts.place("set-up");
        for arguments in [&["topics", "--create"][..], &["migrate"]] {
            let output = place.cli(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        }
        parts
    }

    /// A process of this site.
    pub(crate) fn place(&self, name: &str) -> Place {
        Place::new(name)
            .set("broker.kind=\"kafka\"")
            .set(format!("broker.bootstrap=\"{}\"", self.kafka))
            .set("topics.partitions=4")
            .set("topics.replication=1")
            .set("database.kind=\"postgres\"")
            .set("database.url={ env = \"PRESCREEN_DATABASE_URL\" }")
            .set(format!("blobs.folder={:?}", self.blobs.path().to_str().unwrap()))
            .environment("PRESCREEN_DATABASE_URL", &self.postgres)
    }

    /// Stops or starts a part by its script.
    pub(crate) fn control(&self, part: &str, action: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci").join(part);
        let mut command = Command::new(script);
        command.arg(action).arg(self.folder.join(part));
        if (part, action) == ("kafka", "start") {
            command.arg(self.kafka.rsplit_once(':').unwrap().1);
        }
        // Not captured: a broker started here would keep the pipe open.
        assert!(command.status().unwrap().success(), "{part} {action}");
    }

    /// Rows of these studies: reports, and deliveries beyond the first of an event.
    pub(crate) fn stored(&self, uids: &[String]) -> Stored {
        let mut client = Client::connect(&self.postgres, NoTls).unwrap();
        let mut number = |sql: &str| client.query_one(sql, &[&uids]).unwrap().get::<_, i64>(0);
        Stored {
            studies: number(
                "SELECT count(*) FROM prescreen.studies WHERE run_id = 'live' AND study_uid = ANY($1)",
            ),
            reports: number(
                "SELECT count(*) FROM prescreen.reports WHERE run_id = 'live' AND study_uid = ANY($1)",
            ),
            events: number("SELECT count(*) FROM prescreen.study_events WHERE study_uid = ANY($1)"),
            redelivered: number(
                "SELECT coalesce(sum(deliveries - 1), 0)::bigint FROM prescreen.study_events WHERE study_uid = ANY($1)",
            ),
            dead_letters: number("SELECT count(*) FROM prescreen.dead_letters WHERE study_uid = ANY($1)"),
        }
    }
}

/// What PostgreSQL holds of some studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) studies: i64,
    pub(crate) reports: i64,
    pub(crate) events: i64,
    /// Deliveries of an event to the store beyond its first.
    pub(crate) redelivered: i64,
    pub(crate) dead_letters: i64,
}

impl Stored {
    /// One row of each for every study, whatever was delivered twice.
    pub(crate) fn assert_whole(self, studies: usize) {
        let studies = studies as i64;
        assert_eq!((self.studies, self.reports, self.dead_letters), (studies, studies, 0), "{self:?}");
        assert_eq!(self.events, studies * (STAGES.len() as i64 + 1), "one event of each step: {self:?}");
    }
}

pub(crate) fn start_edge(edge: &Place) -> Service {
    let mut service = edge.spawn(&["run", "--only", "intake,store,console"]);
    service.ready();
    service
}

pub(crate) fn start_worker(worker: &Place) -> Service {
    worker.spawn(&["run", "--only", "quality-gate,keyframes,inference,reporting"])
}

/// Makes and submits studies one after the other; gives their UIDs.
pub(crate) fn send(edge: &Place, seeds: std::ops::Range<u64>) -> Vec<String> {
    let folder = edge.folder("sent");
    let one = |seed| {
        let study = make(&small(seed), &folder);
        submit(&study, || edge.entry());
        std::fs::remove_dir_all(study.files[0].parent().unwrap()).unwrap();
        study.uid
    };
    seeds.map(one).collect()
}
