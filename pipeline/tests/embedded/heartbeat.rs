//! The heartbeat through the whole system: its ages, what it leaves alone, and what it shows when the model hangs.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use glm46v::{Checkpoint, Engine, EngineOptions};
use jiff::Timestamp;
use model_server::{ApiKey, ModelServer, ServerConfig};
use phantom::echo::View;
use prometheus::Registry;
use schemas::{KeyframesExtracted, Message as _, ReportIssued, StudyAcquired};
use tokio::{runtime::Runtime, sync::watch};

use crate::harness::{
    PATIENCE, eventually,
    process::{Place, Service},
    studies::{Study, make, small, submit},
    topic::{Raw, records},
};

/// Stands for the 300 s of the alert HeartbeatLost, where a beat comes every 2 s instead of every minute.
const LOST: f64 = 12.0;
/// How long the model takes for an answer, at least, so that a backlog takes its time.
const ANSWER: Duration = Duration::from_millis(700);
/// Routine studies that wait.
const WAITING: u64 = 24;
const KEY: &str = "a-key-for-tests-only";

/// The heartbeat's age at each stage, and at the report.
fn ages(service: &Service) -> BTreeMap<String, f64> {
    let (_, page) = service.get("/metrics");
    let ages = page.lines().filter_map(|line| {
        let (label, age) =
            line.strip_prefix("prescreen_heartbeat_age_seconds{stage=\"")?.split_once("\"} ")?;
        Some((label.to_owned(), age.parse().unwrap()))
    });
    ages.collect()
}

fn beats(service: &Service) -> Vec<Raw> {
    let mut beats = records(&service.entry().broker, &StudyAcquired::TOPIC.urgent());
    beats.retain(|record| record.header("prescreen_class") == Some("heartbeat"));
    beats
}

fn reported_beats(service: &Service) -> Vec<Raw> {
    let mut reports = records(&service.entry().broker, &ReportIssued::TOPIC.urgent());
    reports.retain(|record| record.header("prescreen_class") == Some("heartbeat"));
    reports
}

fn one_loop(place: &Place, seed: u64) -> Study {
    make(&small(seed).with_loop(View::A4c), &place.folder("sent"))
}

#[test]
fn a_heartbeat_passes_every_stage_and_shows_nowhere_among_the_studies() {
    let place = Place::new("beating service").set("heartbeat.every=\"1s\"");
    let mut service = place.start();
    let labels = ["inference", "intake", "keyframes", "quality_gate", "report", "reporting"];
    assert_eq!(ages(&service).into_keys().collect::<Vec<_>>(), labels);
    let reports = eventually("three beats are reported", PATIENCE, || {
        Some(reported_beats(&service)).filter(|reports| reports.len() >= 3)
    });
    assert!(reports.iter().all(|report| report.header("prescreen_run") == Some("heartbeat")));

    // A study goes its way meanwhile, and is all that anybody sees.
    let study = one_loop(&place, 70);
    submit(&study, || place.entry());
    assert_eq!(service.terminal(&study.uid).state, "reported");
    let listed: Vec<String> = service.studies().into_iter().map(|row| row.study_uid).collect();
    assert_eq!(listed, [study.uid.as_str()]);
    let counts = service.status().studies;
    assert_eq!((counts.received, counts.reported, counts.in_progress, counts.unaccounted), (1, 1, 0, 0));
    for metric in [
        "prescreen_studies_terminal_total",
        "prescreen_studies_accepted_total",
        "prescreen_reports_total",
        "prescreen_study_end_to_end_seconds_count",
    ] {
        assert_eq!(service.metric(metric, ""), 1.0, "{metric}");
    }
    assert_eq!(service.metric("prescreen_stage_memo_hits_total", ""), 0.0);
    assert_eq!(service.metric("prescreen_stage_dead_letters_total", ""), 0.0);
    let beats = beats(&service);
    let uid = beats[0].header("ce_subject").unwrap();
    assert!(service.study(uid).is_none(), "a beat is no study");
    assert!(ages(&service).values().all(|age| *age < LOST), "{:?}", ages(&service));
    service.stop();
}

/// A model server, and a way there that can be stopped up: then it takes requests and never answers.
struct Model {
    url: String,
    hung: Arc<AtomicBool>,
    _engine: Engine,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Model {
    fn start() -> Self {
        let checkpoint =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages/inference/glm46v/checkpoints/untrained");
        let engine = Engine::start(Checkpoint::open(&checkpoint).unwrap(), EngineOptions::default()).unwrap();
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            keys: vec![ApiKey::new(KEY).unwrap()],
            model: "remote".to_owned(),
            max_body: 8 << 20,
            max_pixels: 2000 * 2000,
            default_tokens: 16,
        };
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ModelServer::bind(engine.handle(), config, Registry::new())).unwrap();
        let server_at = server.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(server.serve(stopped));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hung = Arc::new(AtomicBool::new(false));
        let gate = hung.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server_at).unwrap());
                let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let gate = gate.clone();
                thread::spawn(move || pump(client, server, Duration::ZERO, &gate));
                thread::spawn(move || pump(back_from, back_to, ANSWER, &AtomicBool::new(false)));
            }
        });
        Self { url, hung, _engine: engine, _stop: stop, _runtime: runtime }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration, stopped_up: &AtomicBool) {
    let mut some = [0; 1 << 12];
    while let Ok(count @ 1..) = from.read(&mut some) {
        while stopped_up.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(delay);
        if to.write_all(&some[..count]).is_err() {
            break;
        }
    }
    // Whoever is on the other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_model_that_hangs_loses_the_heartbeat_and_routine_studies_that_wait_do_not() {
    let model = Model::start();
    let place = Place::new("service of a model that hangs")
        .set("heartbeat.every=\"2s\"")
        .set("model.kind=\"openai\"")
        .set(format!("model.openai.url=\"{}\"", model.url))
        .set("model.openai.model=\"remote\"")
        .set("model.openai.key={ env = \"MODEL_KEY\" }")
        .set("model.openai.request_timeout=\"10min\"")
        .set("runtime.workers.inference=1")
        .set("truth.deadline=\"60min\"")
        .set("intake.arrival_gates=0")
        .environment("MODEL_KEY", KEY);
    let mut service = place.start();
    eventually("a beat is reported", PATIENCE, || (!reported_beats(&service).is_empty()).then_some(()));

    model.hung.store(true, Ordering::SeqCst);
    for seed in 0..WAITING {
        let study = one_loop(&place, 100 + seed);
        submit(&study, || place.entry());
    }
    eventually("every study waits for the model, and the heartbeat is lost", PATIENCE, || {
        let is_lost = ages(&service)["report"] > LOST;
        let waiting = is_lost.then(|| records(&service.entry().broker, KeyframesExtracted::TOPIC.name))?;
        (waiting.len() as u64 == WAITING).then_some(())
    });
    let lost = ages(&service);
    assert!(["inference", "reporting", "report"].iter().all(|stage| lost[*stage] > LOST), "{lost:?}");
    assert!(["intake", "quality_gate", "keyframes"].iter().all(|stage| lost[*stage] < LOST), "{lost:?}");

    // It goes on: the next beat passes by the studies that wait.
    let released = Timestamp::now();
    let begun = Instant::now();
    model.hung.store(false, Ordering::SeqCst);
    let fresh = |beat: &Raw| beat.header("ce_time").unwrap().parse::<Timestamp>().unwrap() > released;
    let left = service.until("a beat made after that is reported", || {
        let status = place.get_status()?;
        let broker = place.entry()?.broker;
        let beats = records(&broker, &StudyAcquired::TOPIC.urgent());
        let reports = records(&broker, &ReportIssued::TOPIC.urgent());
        let passed =
            reports.iter().any(|report| beats.iter().any(|beat| beat.key == report.key && fresh(beat)));
        passed.then_some(status.studies.in_progress as u64)
    });
    println!(
        "a beat passed {left} of {WAITING} routine studies, {:?} after the model went on",
        begun.elapsed()
    );
    assert!(left >= WAITING / 3, "only {left} of {WAITING} routine studies still waited");
    assert!(ages(&service).values().all(|age| *age < LOST), "{:?}", ages(&service));
    service.stop();
}
