//! What outlives a stop, a kill and a torn file. The killed broker is a process of its own: the example `serve`.

#![expect(
    clippy::unwrap_used,
    reason = "a step that fails is a test that fails, in a function of its own too"
)]

mod client;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use client::{Client, deliveries, next, send};
use embedded_broker::{Broker, Config, StartError};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::Offset;

struct Process {
    child: Child,
    bootstrap: String,
}

impl Process {
    fn start(dir: &Path, port: &str) -> Process {
        let target = env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        let mut child = Command::new(target.join("examples").join("serve"))
            .arg(dir)
            .arg(port)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut bootstrap = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut bootstrap).unwrap();
        Process { child, bootstrap: bootstrap.trim().to_owned() }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn logs(dir: &Path, topic: &str) -> Vec<PathBuf> {
    let partition = dir.join("topics").join(format!("{topic}-0"));
    let mut logs: Vec<PathBuf> = fs::read_dir(partition)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs
}

#[test]
fn a_killed_broker_has_everything_it_acknowledged_and_each_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), "0");
    let port = process.bootstrap.rsplit(':').next().unwrap().to_owned();
    let kafka = Client::new(process.bootstrap.clone());
    let topic = kafka.topic(1, &[("segment.bytes", "65536")]);
    let producer = kafka.producer(&[
        ("enable.idempotence", "true"),
        ("batch.num.messages", "20"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
    ]);
    for n in 0..4000 {
        let value = format!("{n:04} {}", "x".repeat(100));
        producer.send(BaseRecord::<str, str>::to(&topic).partition(0).payload(&value)).unwrap();
        if n % 1000 == 500 {
            process.kill();
            process = Process::start(dir.path(), &port);
        }
    }
    let acknowledged = deliveries(&producer);
    assert_eq!(acknowledged.len(), 4000);
    process.kill();
    process = Process::start(dir.path(), &port);
    let read = kafka.read_all(&topic, 0, 0);
    assert_eq!(read.len(), 4000);
    for (n, (offset, value)) in read.iter().enumerate() {
        assert_eq!((*offset, &value[..4]), (n as i64, format!("{n:04}").as_bytes()));
    }
    for delivery in acknowledged {
        let (value, _, offset) = delivery.unwrap();
        assert_eq!(read[usize::try_from(offset).unwrap()].1, value);
    }
    process.kill();
}

#[test]
fn topics_offsets_and_groups_outlive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), "0");
    let port = process.bootstrap.rsplit(':').next().unwrap().to_owned();
    let kafka = Client::new(process.bootstrap.clone());
    let topic = kafka.topic(2, &[("retention.ms", "-1")]);
    kafka.produce(&topic, 1, (0..100).map(|n| n.to_string()));
    let settings =
        [("group.instance.id", "pod-0"), ("reconnect.backoff.ms", "10"), ("reconnect.backoff.max.ms", "50")];
    let member = kafka.member("group", &[&topic], &settings);
    assert_eq!(next(&member).offset(), 0);
    member.commit(&client::place(&topic, 1, Offset::Offset(60)), CommitMode::Sync).unwrap();
    process.kill();
    let process = Process::start(dir.path(), &port);
    assert_eq!(kafka.committed("group", &topic, 1), Some(60));
    // The member is still a member: it reads on and commits in its old generation.
    kafka.produce(&topic, 1, ["after"]);
    let mut last = None;
    client::until("the member has read on", || {
        last = client::poll(&member).or(last.take());
        last.as_ref().is_some_and(|message| message.payload() == Some(b"after"))
    });
    member.commit(&client::place(&topic, 1, Offset::Offset(101)), CommitMode::Sync).unwrap();
    assert_eq!(client::owned(&member).len(), 2);
    process.kill();
}

#[test]
fn a_torn_tail_costs_its_batch_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Config::new(dir.path())).unwrap();
    let kafka = Client::new(broker.bootstrap());
    let topic = kafka.topic(1, &[]);
    for n in 0..10 {
        kafka.produce(&topic, 0, [n.to_string()]);
    }
    broker.shutdown();
    let log = logs(dir.path(), &topic).pop().unwrap();
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let broker = Broker::start(Config::new(dir.path())).unwrap();
    let kafka = Client::new(broker.bootstrap());
    assert_eq!(kafka.read_all(&topic, 0, 0).len(), 9);
    kafka.produce(&topic, 0, ["again"]);
    assert_eq!(kafka.read_all(&topic, 0, 9), [(9, b"again".to_vec())]);
    broker.shutdown();
}

#[test]
fn old_data_is_readable_after_many_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut topic = String::new();
    for round in 0..4_i64 {
        let broker = Broker::start(Config::new(dir.path())).unwrap();
        let kafka = Client::new(broker.bootstrap());
        if round == 0 {
            topic = kafka.topic(1, &[("segment.bytes", "20000"), ("retention.ms", "-1")]);
        }
        let producer = kafka.producer(&[("batch.num.messages", "10")]);
        for n in 0..200 {
            let value = format!("{} {}", round * 200 + n, "x".repeat(100));
            send(&producer, BaseRecord::to(&topic).partition(0).payload(value.as_bytes()));
        }
        assert!(deliveries(&producer).iter().all(Result::is_ok));
        for (offset, value) in kafka.read_all(&topic, 0, 0) {
            assert!(value.starts_with(format!("{offset} ").as_bytes()));
        }
        assert_eq!(kafka.watermarks(&topic, 0), (0, (round + 1) * 200));
        drop(producer);
        broker.shutdown();
    }
    assert!(logs(dir.path(), &topic).len() > 3);
}

#[test]
fn damage_that_no_crash_explains_refuses_the_start_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Config::new(dir.path())).unwrap();
    let kafka = Client::new(broker.bootstrap());
    let topic = kafka.topic(1, &[("segment.bytes", "2000")]);
    for _ in 0..10 {
        kafka.produce(&topic, 0, ["x".repeat(500)]);
    }
    broker.shutdown();
    let first = logs(dir.path(), &topic).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    bytes[200] ^= 1;
    fs::write(&first, &bytes).unwrap();
    let error = Broker::start(Config::new(dir.path())).unwrap_err();
    assert!(matches!(&error, StartError::Damaged { path, .. } if *path == first), "{error}");
}

#[test]
fn a_second_broker_is_kept_off_the_directory_until_the_first_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let first = Broker::start(Config::new(dir.path())).unwrap();
    assert!(matches!(Broker::start(Config::new(dir.path())), Err(StartError::InUse { .. })));
    first.shutdown();
    Broker::start(Config::new(dir.path())).unwrap().shutdown();
}

#[test]
fn stopping_with_clients_connected_is_quick() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Config::new(dir.path())).unwrap();
    let kafka = Client::new(broker.bootstrap());
    let topic = kafka.topic(1, &[]);
    let consumer = kafka.reader(
        &topic,
        0,
        Offset::Beginning,
        &[("fetch.wait.max.ms", "30000"), ("socket.timeout.ms", "60000")],
    );
    assert!(client::poll(&consumer).is_none());
    let begun = std::time::Instant::now();
    broker.shutdown();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    let _still_there = consumer.client();
}
