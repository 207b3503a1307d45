//! The one door to PostgreSQL: a thread, its connection, and bounded queues of closures.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use postgres::{Client, Config, NoTls, Transaction};
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};

/// Writes that may wait. Small: the sink waits for each anyway, and backpressure belongs into Kafka.
const WRITE_QUEUE: usize = 4;
/// Reads that may wait before a caller is told that the database is busy.
const READ_QUEUE: usize = 64;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the other end may be silent on the network before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a job brought no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// No connection, or it broke. The job may have been done: jobs are written so that doing them again is harmless.
    #[error("database is not reachable")]
    Unavailable(#[source] Box<postgres::Error>),
    /// PostgreSQL refused a statement. Its own text may quote a row (`DETAIL: Failing row contains …`) and is dropped here,
    /// because whoever logs an error logs its sources too.
    #[error("database refused a statement (SQLSTATE {code}, {object})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The table, column or constraint that PostgreSQL names.
        object: String,
    },
    /// Too many readers.
    #[error("database queue is full ({READ_QUEUE} reads waiting); try again later")]
    Busy,
    /// The job panicked; the connection was dropped.
    #[error("database job panicked")]
    Panicked,
    /// The database thread has ended.
    #[error("database is shut down")]
    Closed,
}

impl DatabaseError {
    pub(super) fn of(error: postgres::Error) -> Self {
        match error.as_db_error() {
            // Class 57P: the server is shutting down or not ready; class 08: the connection failed.
            Some(refusal) if !["57P", "08"].iter().any(|class| refusal.code().code().starts_with(class)) => {
                let named = [refusal.constraint(), refusal.column(), refusal.table(), refusal.routine()];
                let object = named.into_iter().flatten().next().unwrap_or("unnamed");
                Self::Refused { code: refusal.code().code().to_owned(), object: object.to_owned() }
            }
            _ => Self::Unavailable(Box::new(error)),
        }
    }

    /// Whether PostgreSQL blames the data rather than itself: data exception (class 22), integrity violation (23), or a
    /// value beyond what a row, an index or a document can hold (54).
    pub(crate) fn blames_data(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }
}

/// Whose rights a job runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything but identity.
    App,
    /// The identity table alone.
    Identity,
}

impl Role {
    fn statement(self) -> &'static str {
        match self {
            Self::App => "SET LOCAL ROLE prescreen_app",
            Self::Identity => "SET LOCAL ROLE prescreen_identity",
        }
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Seconds of a transaction: from a row in process to a statement's timeout.
const WRITE: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// How busy the door is.
#[derive(Clone)]
struct DatabaseMetrics {
    write: Histogram,
    in_use: IntGauge,
    most: IntGauge,
}

impl DatabaseMetrics {
    fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            write: Histogram::with_opts(
                HistogramOpts::new(
                    "prescreen_db_write_seconds",
                    "Seconds of one write transaction, its wait for the connection apart.",
                )
                .buckets(WRITE.to_vec()),
            )?,
            in_use: IntGauge::new("prescreen_db_pool_in_use", "Connections at work.")?,
            most: IntGauge::new("prescreen_db_pool_max", "Connections that this process makes at most.")?,
        };
        metrics.most.set(1);
        Ok(metrics)
    }
}

/// A handle to the database thread. Cloning it is cheap; the thread ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Database {
    writes: Sender<Job>,
    reads: Sender<Job>,
    metrics: DatabaseMetrics,
}

impl Database {
    /// Starts the thread. It connects when the first job comes, and again whenever the connection is lost.
    pub(crate) fn start(mut config: Config, statement_timeout: Duration) -> std::io::Result<Self> {
        config.connect_timeout(CONNECT).application_name("prescreen");
        config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
        let metrics = DatabaseMetrics::new().map_err(std::io::Error::other)?;
        let in_use = metrics.in_use.clone();
        let (writes, write_jobs) = bounded(WRITE_QUEUE);
        let (reads, read_jobs) = bounded(READ_QUEUE);
        thread::Builder::new().name("database".to_owned()).spawn(move || {
            serve(Connection { config, statement_timeout, client: None }, &write_jobs, &read_jobs, &in_use);
        })?;
        Ok(Self { writes, reads, metrics })
    }

    /// Declares on `registry` how busy the database is.
    pub(crate) fn declare(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.metrics.write.clone()))?;
        registry.register(Box::new(self.metrics.in_use.clone()))?;
        registry.register(Box::new(self.metrics.most.clone()))
    }

    /// Runs `work` as one transaction and waits for it. The caller waits for a place in the queue.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        role: Role,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (job, answer) = job(role, work, Some(self.metrics.write.clone()));
        self.writes.send(job).map_err(|_| DatabaseError::Closed)?;
        answer.recv().map_err(|_| DatabaseError::Panicked)?
    }

    /// As [`Self::write`], but refuses at once when too many readers wait.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        role: Role,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (job, answer) = job(role, work, None);
        self.reads
            .try_send(job)
            .map_err(|error| if error.is_full() { DatabaseError::Busy } else { DatabaseError::Closed })?;
        answer.recv().map_err(|_| DatabaseError::Panicked)?
    }

    /// Lends the bare connection, for the migration library, which makes transactions of its own.
    pub(crate) fn with_client<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Client) -> T + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (sender, answer) = bounded(1);
        let job: Job = Box::new(move |connection| {
            let result = connection.client().map(work).map_err(DatabaseError::of);
            // A caller that is gone needs no answer.
            let _ = sender.send(result);
        });
        self.writes.send(job).map_err(|_| DatabaseError::Closed)?;
        answer.recv().map_err(|_| DatabaseError::Panicked)?
    }
}

type Answer<T> = Receiver<Result<T, DatabaseError>>;

fn job<T: Send + 'static>(
    role: Role,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, postgres::Error> + Send + 'static,
    seconds: Option<Histogram>,
) -> (Job, Answer<T>) {
    let (sender, answer) = bounded(1);
    let job: Job = Box::new(move |connection| {
        let timer = seconds.map(|seconds| seconds.start_timer());
        let result = connection.transaction(role, work).map_err(DatabaseError::of);
        drop(timer);
        // A caller that is gone needs no answer.
        let _ = sender.send(result);
    });
    (job, answer)
}

fn serve(mut connection: Connection, writes: &Receiver<Job>, reads: &Receiver<Job>, in_use: &IntGauge) {
    // `select!` picks at random among ready queues, so reads pass between write batches and neither starves.
    loop {
        let job = select! {
            recv(writes) -> job => job,
            recv(reads) -> job => job,
        };
        let Ok(job) = job else { return };
        in_use.set(1);
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            connection.client = None;
        }
        in_use.set(0);
    }
}

struct Connection {
    config: Config,
    statement_timeout: Duration,
    client: Option<Client>,
}

impl Connection {
    fn client(&mut self) -> Result<&mut Client, postgres::Error> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = None;
            let mut client = self.config.connect(NoTls)?;
            client.batch_execute(&format!(
                "SET client_min_messages = warning; SET search_path = prescreen; SET statement_timeout = {}",
                self.statement_timeout.as_millis()
            ))?;
            self.client = Some(client);
        }
        #[expect(clippy::expect_used, reason = "set right above when absent")]
        Ok(self.client.as_mut().expect("a client"))
    }

    fn transaction<T>(
        &mut self,
        role: Role,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        let mut transaction = self.client()?.transaction()?;
        transaction.batch_execute(role.statement())?;
        let result = work(&mut transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}
