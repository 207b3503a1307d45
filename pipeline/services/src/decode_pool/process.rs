//! One worker process as the pool sees it. Whatever goes wrong ends it: dropping kills and reaps.

use std::{
    io::{self, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::Signal,
};

use super::DecodePoolConfig;
use crate::wire::{Answer, Coding, PROTOCOL, Ready, Request, Said, Setup, receive, send};

/// Why a worker did not get as far as its first request.
#[derive(Debug, thiserror::Error)]
pub enum WorkerStartError {
    /// The program cannot be run.
    #[error("decode worker cannot be started")]
    Spawn(#[source] io::Error),
    /// It ended or hung before it said that it is ready.
    #[error("decode worker did not get ready; does its program serve decode requests?")]
    NotReady(#[source] io::Error),
    /// It speaks another protocol.
    #[error(
        "decode worker speaks protocol {found}, this process {PROTOCOL}; restart after replacing the binary"
    )]
    Protocol {
        /// What it speaks.
        found: u32,
    },
}

/// What a worker answered.
pub(super) struct Reply {
    pub(super) answer: Answer,
    /// The picture that the answer announced; else empty.
    pub(super) picture: Arc<[u8]>,
    pub(super) coding: Option<Coding>,
}

/// How a worker ended instead of answering.
pub(super) enum WorkerEnd {
    NotStarted(WorkerStartError),
    TimedOut,
    Crashed {
        /// Signal or exit code, or what was wrong with its answer.
        how: String,
    },
}

pub(super) struct WorkerProcess {
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
}

impl WorkerProcess {
    pub(super) fn start(config: &DecodePoolConfig) -> Result<Self, WorkerStartError> {
        let mut child = Command::new(&config.program)
            .args(&config.args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A panic of a decoder may quote what it decodes.
            .stderr(Stdio::null())
            // Of its own: Ctrl-C on a terminal is for this process, which still wants its answers while it drains.
            .process_group(0)
            .spawn()
            .map_err(WorkerStartError::Spawn)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(WorkerStartError::Spawn(io::ErrorKind::BrokenPipe.into()));
        };
        let mut process = Self { child, requests, answers };
        let setup =
            Setup { memory_bytes: config.memory_bytes, cpu_seconds: config.request_timeout.as_secs() + 1 };
        let deadline = Instant::now() + config.request_timeout;
        let ready: Option<Ready> = send(&mut process.requests, &setup, &[])
            .and_then(|()| receive(&mut Until { pipe: &mut process.answers, deadline }))
            .map_err(WorkerStartError::NotReady)?;
        match ready {
            Some(Ready { protocol: PROTOCOL }) => Ok(process),
            Some(Ready { protocol }) => Err(WorkerStartError::Protocol { found: protocol }),
            None => Err(WorkerStartError::NotReady(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Asks and waits, for `patience` at most. After an error the process is of no more use.
    pub(super) fn ask(&mut self, request: &Request, patience: Duration) -> Result<Reply, WorkerEnd> {
        let deadline = Instant::now() + patience;
        self.exchange(request, deadline).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => WorkerEnd::TimedOut,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => self.ended(),
            _ => WorkerEnd::Crashed { how: "its answer cannot be read".to_owned() },
        })
    }

    fn exchange(&mut self, request: &Request, deadline: Instant) -> io::Result<Reply> {
        // A request is far smaller than a pipe's buffer, and the worker waits for it: writing does not block.
        send(&mut self.requests, request, &[])?;
        let mut answers = Until { pipe: &mut self.answers, deadline };
        let Said { answer, coding } = receive(&mut answers)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut picture = vec![0; answer.picture_bytes().ok_or(io::ErrorKind::InvalidData)?];
        answers.read_exact(&mut picture)?;
        Ok(Reply { answer, picture: picture.into(), coding })
    }

    /// Reaps a process that has closed its pipe. Killing one that is already ending does not change how it ended.
    fn ended(&mut self) -> WorkerEnd {
        // An error means that it is reaped already.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) if status.signal() == Some(Signal::XCPU.as_raw()) => WorkerEnd::TimedOut,
            Ok(status) => WorkerEnd::Crashed { how: describe(status) },
            Err(_) => WorkerEnd::Crashed { how: "unknown".to_owned() },
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.requests.flush();
        // Errors mean that it has ended and is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// A pipe that is read until a point in time.
struct Until<'a> {
    pipe: &'a mut ChildStdout,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::new(&*self.pipe, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                // Readable or closed: neither blocks.
                Ok(_) => return self.pipe.read(buffer),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
