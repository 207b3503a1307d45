//! Pauses: what operators ask of stages, read from `control.v1` by every process and obeyed by its runs.
//!
//! ```text
//!   pause STAGE ▶ API ▶ audit log ▶ control.v1 (compacted, key = stage) ─▶ reader thread of each process ─▶ switch of its run
//! ```
//!
//! Invariants:
//! - Nothing is paused or resumed that the audit log does not name.
//! - A process reads what holds before it starts its stages: one that is started while its stage is paused begins nothing.
//! - The store is never paused: what it writes is what every page and every count of studies is made of.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use runtime::{
    Begin, Client, ClientError, Headers, PauseSwitch, PublishError, Publisher, Record, Tail, TailError,
};
use schemas::{CONTROL_TOPIC, StageControl};
use serde_json::json;

use crate::{
    store::{
        Database, DatabaseError, Role,
        audit::{self, Entry},
    },
    system::entries,
};

/// How long what holds may take to be read at a start.
const FIRST_READ: Duration = Duration::from_secs(30);
/// How long one poll waits; also how late the end of the process may be noticed.
const POLL: Duration = Duration::from_millis(200);
/// How long a reader rests whose client cannot go on.
const REST: Duration = Duration::from_secs(1);
/// How long the broker may take to acknowledge a pause, and the process that published it to hear of it itself.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);

/// Why pauses cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The topic cannot be read.
    #[error("pauses cannot be read")]
    Topic(#[from] TailError),
    /// Its beginning did not come in time.
    #[error("the broker did not give {CONTROL_TOPIC} within {}s", FIRST_READ.as_secs())]
    Slow,
    /// No thread to read it.
    #[error("no thread for {CONTROL_TOPIC}")]
    Thread(#[from] std::io::Error),
    /// A stage that cannot be paused.
    #[error("{stage} cannot be paused; these can: {}", names().join(", "))]
    NotPausable {
        /// As it was named.
        stage: String,
    },
    /// No client for the broker.
    #[error("the pause cannot be published")]
    Client(#[from] ClientError),
    /// The broker did not take it.
    #[error("the pause was not published")]
    Publish(#[from] PublishError),
    /// It was not audited, and therefore not done.
    #[error("the pause cannot be audited")]
    Database(#[from] DatabaseError),
    /// This process has not heard of what it published.
    #[error("the pause is published, and the broker has not delivered it within {}s", ACKNOWLEDGE.as_secs())]
    Unheard,
}

fn names() -> Vec<&'static str> {
    entries().into_iter().map(|entry| entry.name).collect()
}

/// The switches of every stage, whether or not it runs in this process. Cheap to clone; all clones are the same switches.
#[derive(Debug, Clone)]
pub(crate) struct Switches(BTreeMap<&'static str, PauseSwitch>);

impl Default for Switches {
    /// Nothing paused.
    fn default() -> Self {
        Self(names().into_iter().map(|name| (name, PauseSwitch::default())).collect())
    }
}

impl Switches {
    /// The switch of a stage; one that nobody turns for everything else.
    pub(crate) fn of(&self, stage: &str) -> PauseSwitch {
        self.0.get(stage).cloned().unwrap_or_default()
    }

    /// Whether an operator has paused `stage`.
    pub(crate) fn is_paused(&self, stage: &str) -> bool {
        self.0.get(stage).is_some_and(PauseSwitch::is_on)
    }

    fn obey(&self, record: &Record) {
        let stage = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        // A stage of another build is no news.
        let Some(switch) = self.0.get(stage) else { return };
        if record.payload.is_empty() {
            return switch.set(false);
        }
        match serde_json::from_slice::<StageControl>(&record.payload) {
            Ok(control) => switch.set(control.paused),
            Err(error) => {
                tracing::warn!(%error, stage, offset = record.offset, "not a control record; ignored");
            }
        }
    }
}

/// The thread that reads; it ends when this is dropped.
pub(crate) struct Control {
    switches: Switches,
    _stop: Sender<()>,
}

impl Control {
    /// Reads what holds, then goes on reading.
    pub(crate) fn start(client: &Client) -> Result<Self, ControlError> {
        let switches = Switches::default();
        let mut tail = Tail::begin(client, CONTROL_TOPIC, Begin::Start)?;
        let deadline = Instant::now() + FIRST_READ;
        while !tail.caught_up() {
            if Instant::now() > deadline {
                return Err(ControlError::Slow);
            }
            if let Some(record) = tail.next(POLL)? {
                switches.obey(&record);
            }
        }
        let (stop, stopped) = bounded::<()>(0);
        let (client, turned) = (client.clone(), switches.clone());
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || follow(tail, &client, &turned, &stopped))?;
        Ok(Self { switches, _stop: stop })
    }

    /// The switches that it turns.
    pub(crate) fn switches(&self) -> Switches {
        self.switches.clone()
    }
}

fn follow(mut tail: Tail, client: &Client, switches: &Switches, stopped: &Receiver<()>) {
    while stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
        match tail.next(POLL) {
            Ok(Some(record)) => switches.obey(&record),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "pauses are not followed; beginning again");
                tail = loop {
                    if stopped.recv_timeout(REST) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    // From the start: what was missed is there, and what is read again holds or is overwritten.
                    if let Ok(tail) = Tail::begin(client, CONTROL_TOPIC, Begin::Start) {
                        break tail;
                    }
                };
            }
        }
    }
}

/// What an operator asks for.
pub(crate) struct Ask<'a> {
    pub(crate) stage: &'a str,
    pub(crate) paused: bool,
    pub(crate) by: &'a str,
}

/// Pauses a stage in every process, or lets it go on. Asked for what holds already, it does nothing.
pub(crate) fn set_paused(
    client: &Client,
    database: &Database,
    switches: &Switches,
    ask: &Ask<'_>,
) -> Result<(), ControlError> {
    let Ask { stage, paused, by } = *ask;
    if !switches.0.contains_key(stage) {
        return Err(ControlError::NotPausable { stage: stage.to_owned() });
    }
    if switches.is_paused(stage) == paused {
        return Ok(());
    }
    let at = Timestamp::now();
    let write = |action: &'static str| {
        let (actor, subject) = (by.to_owned(), stage.to_owned());
        database.write(Role::App, move |sql| {
            let entry = Entry { actor: &actor, action, subject: &subject, detail: json!({}), at };
            audit::append(sql, &entry)
        })
    };
    write(if paused { "stage.pause" } else { "stage.resume" })?;
    let published = publish(client, ask, at);
    if published.is_err() {
        // It may have arrived all the same: the log says what was tried.
        write(if paused { "stage.pause.unconfirmed" } else { "stage.resume.unconfirmed" })?;
    }
    published?;
    // Whoever asks for the status next is to see it.
    let deadline = Instant::now() + ACKNOWLEDGE;
    while switches.is_paused(stage) != paused {
        if Instant::now() > deadline {
            return Err(ControlError::Unheard);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn publish(client: &Client, ask: &Ask<'_>, at: Timestamp) -> Result<(), ControlError> {
    let control = StageControl { paused: ask.paused, by: ask.by.to_owned(), at };
    #[expect(clippy::expect_used, reason = "a plain struct of a flag, a text and a time")]
    let payload = serde_json::to_vec(&control).expect("a control record serialises");
    let publisher = Publisher::connect(client, ACKNOWLEDGE)?;
    publisher.publish_record(CONTROL_TOPIC, Some(ask.stage.as_bytes()), &Headers::default(), &payload)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, payload: &[u8]) -> Record {
        Record {
            topic: CONTROL_TOPIC.into(),
            partition: 0,
            offset: 0,
            timestamp: Timestamp::UNIX_EPOCH,
            key: Some(key.as_bytes().to_vec()),
            headers: Headers::default(),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn the_latest_record_of_a_stage_holds_and_nonsense_changes_nothing() {
        let switches = Switches::default();
        let said = |paused: bool| {
            let at = "2026-11-21T08:00:00Z".parse().expect("a time");
            serde_json::to_vec(&StageControl { paused, by: "x".to_owned(), at }).expect("json")
        };
        switches.obey(&record("keyframes", &said(true)));
        assert!(switches.is_paused("keyframes") && !switches.is_paused("inference"));
        assert!(switches.of("keyframes").is_on(), "a run's switch is the same one");
        for nonsense in [&b"{"[..], b"{\"paused\":false}", b"\xff"] {
            switches.obey(&record("keyframes", nonsense));
        }
        switches.obey(&record("no_such_stage", &said(true)));
        assert!(switches.is_paused("keyframes"));
        switches.obey(&record("keyframes", &said(false)));
        assert!(!switches.is_paused("keyframes"));
        switches.obey(&record("keyframes", &said(true)));
        switches.obey(&record("keyframes", b""));
        assert!(!switches.is_paused("keyframes"), "a tombstone lets it go on");
        assert!(!switches.is_paused("store") && !switches.of("store").is_on());
    }
}
