//! The thread that owns the consumer and never waits for work.
//!
//! ```text
//!   broker ─▶ consumer ─▶ stash of the lane ─▶ lane channel ─▶ coordinator
//!              one queue     │ full, and not half empty within GRACE    ▲
//!                            ▼                                          │ commits, stop, close
//!                  lane paused, polling goes on ──quarter full──▶ resumed
//! ```
//! The client keeps one queue for all partitions, so an urgent record stands behind what was fetched ahead of the
//! routine lane. The stash takes that queue apart by lane. A pause throws away what was fetched ahead: a stage that is
//! fast enough to make room at once is never paused, and a slow one once for each stash of records.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::{
    Message as _, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{CommitMode, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    topic_partition_list::TopicPartitionListElem,
};
use schemas::Priority;

use crate::{
    client::{Client, is_fatal},
    event::{Command, Event, Failure, Fetched},
    membership::{GroupConsumer, Membership, Notice},
    metrics::StageMetrics,
    offsets::Commit,
    record::{Partition, Record},
    settings::Input,
    stash::{CHUNK_RECORDS, Flow, LaneOut},
    watchdog::Watchdog,
};

/// Chunks a lane channel holds.
pub(crate) const LANE_CHUNKS: usize = 4;
/// How long one poll waits for a record; also how late a command may be seen.
const POLL: Duration = Duration::from_millis(20);
/// How long the broker may take to say where a partition ends.
const WATERMARKS: Duration = Duration::from_secs(2);

/// What the poller is made of.
pub(crate) struct Setup {
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) inputs: Arc<[Input]>,
    pub(crate) position_stall: Duration,
    /// Records the window of a lane takes: chunks are a quarter of it, the stash is four times as much.
    pub(crate) window: usize,
    pub(crate) urgent: Sender<Vec<Fetched>>,
    pub(crate) routine: Sender<Vec<Fetched>>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: Sender<Event>,
    pub(crate) metrics: Arc<StageMetrics>,
}

struct Poller {
    setup: Setup,
    consumer: GroupConsumer,
    notices: Receiver<Notice>,
    epoch: Arc<AtomicU64>,
    /// Assigned partitions with the epoch they were assigned in.
    owned: HashMap<Partition, u64>,
    lanes: [LaneOut; 2],
    watchdog: Watchdog,
    /// Nothing is read any more; the group is kept until the close.
    stopped: bool,
    last_error: Option<(KafkaError, Instant)>,
}

/// Polls until told to close. Errors that end it are told to the coordinator.
pub(crate) fn run(setup: Setup) {
    let events = setup.events.clone();
    let ended = Poller::connect(setup).and_then(Poller::poll_until_closed);
    drop(match ended {
        Ok(()) => events.send(Event::Closed),
        Err(failure) => events.send(Event::Stopped(failure)),
    });
}

impl Poller {
    fn connect(setup: Setup) -> Result<Self, Failure> {
        let epoch = Arc::new(AtomicU64::new(0));
        let (consumer, notices) = subscribe(&setup, &epoch)?;
        let lanes = [
            LaneOut::new(Priority::Urgent, setup.urgent.clone(), setup.window),
            LaneOut::new(Priority::Routine, setup.routine.clone(), setup.window),
        ];
        let watchdog = Watchdog::new(setup.position_stall, Instant::now());
        let owned = HashMap::new();
        Ok(Self { setup, consumer, notices, epoch, owned, lanes, watchdog, stopped: false, last_error: None })
    }

    fn poll_until_closed(mut self) -> Result<(), Failure> {
        loop {
            while let Ok(command) = self.setup.commands.try_recv() {
                match command {
                    Command::Commit(commits) => self.commit(&commits, CommitMode::Async),
                    Command::Stop => self.stop(),
                    Command::Close(commits) => {
                        self.commit(&commits, CommitMode::Sync);
                        self.consumer.context().closing.store(true, Ordering::Relaxed);
                        return Ok(());
                    }
                }
            }
            self.hand_over();
            // A stash that is full and not yet paused is waited for inside `hand_over`: nothing more may come.
            if self.lanes.iter().all(|lane| lane.full_since.is_none() || lane.paused) {
                self.poll_chunk()?;
            }
            self.notice();
            self.watch()?;
        }
    }

    fn hand_over(&mut self) {
        let mut changes = [(Priority::Urgent, Flow::Go); 2];
        for (lane, change) in self.lanes.iter_mut().zip(&mut changes) {
            let waits = lane.full_since.is_some() && !lane.paused;
            lane.hand_over(if waits { Duration::from_millis(5) } else { Duration::ZERO });
            if !self.stopped {
                *change = (lane.lane, lane.flow(Instant::now()));
            }
        }
        for (lane, flow) in changes {
            match flow {
                Flow::Go => {}
                Flow::Pause => {
                    self.setup.metrics.pauses.inc();
                    tracing::debug!(?lane, "lane paused: as much in flight as allowed");
                    self.pause(lane, self.owned.keys().copied().collect());
                }
                Flow::Resume => self.resume(lane),
            }
        }
    }

    /// Polls until a chunk is there or nothing more comes at once.
    fn poll_chunk(&mut self) -> Result<(), Failure> {
        // What is stashed is handed over as soon as there is room: then polling must not wait long.
        let stashed = self.lanes.iter().any(|lane| !lane.stash.is_empty());
        let mut wait = if stashed { Duration::from_millis(1) } else { POLL };
        for _ in 0..CHUNK_RECORDS {
            let fetched = match self.consumer.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) => self.fetched(&message),
                Some(Err(error)) => return self.error(error),
            };
            wait = Duration::ZERO;
            // An assignment that came with this poll counts for the record that came with it.
            self.notice();
            let Some(fetched) = fetched else { continue };
            let now = Instant::now();
            self.watchdog.pet(now);
            let urgent = self.setup.inputs.get(fetched.partition.input).map(|input| input.lane);
            let [urgent_lane, routine_lane] = &mut self.lanes;
            let lane = if urgent == Some(Priority::Urgent) { urgent_lane } else { routine_lane };
            lane.push(fetched, now);
            if lane.full_since.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fetched(&self, message: &BorrowedMessage<'_>) -> Option<Fetched> {
        let input = self.setup.inputs.iter().position(|input| *input.topic == *message.topic())?;
        let topic = Arc::clone(&self.setup.inputs.get(input)?.topic);
        let record = Record::of(message, topic);
        let partition = Partition { input, number: message.partition() };
        Some(Fetched { record, partition, epoch: self.epoch.load(Ordering::Relaxed) })
    }

    fn error(&mut self, error: KafkaError) -> Result<(), Failure> {
        if is_fatal(&error) {
            return Err(Failure::Broker(error));
        }
        if matches!(error, KafkaError::MessageConsumption(RDKafkaErrorCode::PollExceeded)) {
            tracing::error!("consumer was not polled in time and has left its group; it joins again");
        }
        // The client repeats itself while a broker is down: once in ten seconds is enough.
        let now = Instant::now();
        let repeated = self.last_error.as_ref().is_some_and(|(last, at)| {
            *last == error && now.saturating_duration_since(*at) < Duration::from_secs(10)
        });
        if !repeated {
            tracing::warn!(%error, "consumer error; the client tries again");
            self.last_error = Some((error, now));
        }
        Ok(())
    }

    /// Takes note of what the rebalance callbacks saw.
    fn notice(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::Revoked(partitions) => {
                    self.owned.retain(|partition, _| !partitions.contains(partition));
                }
                Notice::Assigned { partitions, epoch } => {
                    self.watchdog.pet(Instant::now());
                    self.owned.extend(partitions.iter().map(|partition| (*partition, epoch)));
                    let paused: Vec<Priority> =
                        self.lanes.iter().filter(|lane| lane.paused).map(|lane| lane.lane).collect();
                    for lane in paused {
                        self.pause(lane, partitions.clone());
                    }
                }
            }
        }
    }

    fn list(&self, lane: Priority, partitions: Vec<Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            if let Some(input) = self.setup.inputs.get(partition.input).filter(|input| input.lane == lane) {
                list.add_partition(&input.topic, partition.number);
            }
        }
        list
    }

    fn pause(&self, lane: Priority, partitions: Vec<Partition>) {
        let list = self.list(lane, partitions);
        if let Err(error) = self.consumer.pause(&list) {
            tracing::warn!(%error, "partitions cannot be paused");
        }
    }

    fn resume(&self, lane: Priority) {
        let list = self.list(lane, self.owned.keys().copied().collect());
        if let Err(error) = self.consumer.resume(&list) {
            tracing::warn!(%error, "partitions cannot be resumed");
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        for lane in [Priority::Urgent, Priority::Routine] {
            self.pause(lane, self.owned.keys().copied().collect());
        }
        for lane in &mut self.lanes {
            lane.paused = true;
            lane.stash.clear();
            lane.bytes = 0;
        }
    }

    fn commit(&self, commits: &[Commit], mode: CommitMode) {
        let mine =
            |commit: &&Commit| self.owned.get(&commit.partition).is_some_and(|epoch| *epoch <= commit.epoch);
        let commits: Vec<Commit> = commits.iter().filter(mine).copied().collect();
        if commits.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit(&self.consumer.context().list(&commits), mode) {
            self.setup.metrics.commit_failures.inc();
            tracing::warn!(%error, "offsets are not committed; tried again");
            let partitions = commits.iter().map(|commit| commit.partition).collect();
            drop(self.setup.events.send(Event::CommitFailed(partitions)));
        }
    }

    fn watch(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.stopped || self.owned.is_empty() || self.lanes.iter().any(|lane| lane.paused) {
            self.watchdog.pet(now);
            return Ok(());
        }
        if !self.watchdog.suspects(now) {
            return Ok(());
        }
        let stalled = match self.stalled_topics() {
            Ok(stalled) => stalled,
            Err(error) => {
                tracing::warn!(%error, "nothing was read for a while and the broker does not answer");
                return Ok(());
            }
        };
        for input in self.setup.inputs.iter() {
            self.setup.metrics.position_stalled(&input.topic, stalled.contains(&input.topic));
        }
        if stalled.is_empty() {
            return Ok(());
        }
        tracing::error!(topics = ?stalled, "records wait and none arrives; the consumer is made anew");
        let (fresh, notices) = subscribe(&self.setup, &self.epoch)?;
        // Dropping the old one leaves the group: its revocation is answered before `notices` changes hands.
        drop(std::mem::replace(&mut self.consumer, fresh));
        self.owned.clear();
        self.notices = notices;
        self.watchdog.pet(now);
        Ok(())
    }

    /// Topics with a partition whose end lies beyond the consumer's position.
    fn stalled_topics(&self) -> KafkaResult<Vec<Arc<str>>> {
        let mut stalled = Vec::new();
        let position = self.consumer.position()?;
        let committed = self.consumer.committed(WATERMARKS)?;
        let offset =
            |element: &TopicPartitionListElem<'_>| element.offset().to_raw().filter(|offset| *offset >= 0);
        for element in position.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let (low, high) = self.consumer.fetch_watermarks(topic, partition, WATERMARKS)?;
            // Before the first record there is no position: the client begins at the committed offset, or at the start.
            let begin = committed.find_partition(topic, partition).as_ref().and_then(offset);
            if offset(&element).or(begin).unwrap_or(low).max(low) < high {
                stalled.push(Arc::from(element.topic()));
            }
        }
        Ok(stalled)
    }
}

fn subscribe(setup: &Setup, epoch: &Arc<AtomicU64>) -> Result<(GroupConsumer, Receiver<Notice>), Failure> {
    // A notice for each rebalance, read after the poll that made it.
    let (notices, noticed) = bounded(64);
    let membership = Membership {
        inputs: Arc::clone(&setup.inputs),
        notices,
        events: setup.events.clone(),
        metrics: Arc::clone(&setup.metrics),
        epoch: Arc::clone(epoch),
        closing: AtomicBool::new(false),
    };
    let config = setup.client.consumer(&setup.group);
    let consumer = GroupConsumer::from_config_and_context(&config, membership)
        .map_err(|error| Failure::Fatal(setup.client.error("consumer")(error).into()))?;
    let topics: Vec<&str> = setup.inputs.iter().map(|input| &*input.topic).collect();
    consumer
        .subscribe(&topics)
        .map_err(|error| Failure::Fatal(setup.client.error("subscription")(error).into()))?;
    Ok((consumer, noticed))
}
