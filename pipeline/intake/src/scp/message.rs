//! The message loop of an established association.
//!
//! ```text
//!            command PDV…                last command PDV              data PDV…           last data PDV
//!   between ─────────────▶ in command ──────────────────▶ in data set ───────────▶ … ──────────────────▶ response
//!      ▲                        └─ no data set: response ─┐    │ refused: bytes are read and dropped          │
//!      └──────────────────────────────────────────────────┴────┴──────────────────────────────────────────────┘
//! ```
//! Anything out of this order, and any presentation context that was not agreed, ends the association with A-ABORT.

use dicom_ul::pdu::{AbortRQServiceProviderReason, PDataValue, PDataValueType, Pdu};
use schemas::{InstanceUid, Protocol, ReceivedFrom, Uid};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::spawn_blocking,
};

use super::{
    Access,
    negotiation::{Association, Context, Purpose},
    stopped,
    wire::{Wire, WireError},
};
use crate::{
    Intake,
    dimse::{C_CANCEL, C_ECHO, C_STORE, CommandSet, NO_DATA_SET, RESPONSE, element, status},
    filing::{Announced, Origin, check_dicom},
    incoming::Incoming,
    intake::{KeepRefused, Receipt},
    meta_header::meta_header,
    refusal::{Refusal, is_machine_failure},
};

/// A command set is a few hundred bytes; more is no command set.
const MAX_COMMAND: usize = 64 << 10;
/// Bytes gathered before they are written and hashed in one go.
const CHUNK: usize = 1 << 20;

/// Why an association ended without a release.
#[derive(Debug)]
pub(crate) enum Ended {
    ByPeer,
    Stopping,
    Violation,
    Wire(WireError),
}

impl Ended {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::ByPeer => "aborted_by_peer",
            Self::Stopping => "stopping",
            Self::Violation | Self::Wire(WireError::Malformed) => "protocol_violation",
            Self::Wire(WireError::Timeout(_)) => "idle",
            Self::Wire(WireError::Closed | WireError::Io(_)) => "connection",
        }
    }
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Exchanges messages until the peer releases the association.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    association: &Association,
    intake: &Intake,
    stop: watch::Receiver<bool>,
) -> Result<(), Ended> {
    let ended = Exchange { association, intake, stop, state: State::Between }.run(wire).await;
    match &ended {
        Ok(()) => wire.finish(&Pdu::ReleaseRP).await,
        Err(Ended::Violation | Ended::Wire(WireError::Malformed)) => {
            wire.abort(AbortRQServiceProviderReason::InvalidPduParameter).await;
        }
        Err(Ended::Stopping | Ended::Wire(WireError::Timeout(_))) => {
            wire.abort(AbortRQServiceProviderReason::ReasonNotSpecified).await;
        }
        Err(Ended::ByPeer | Ended::Wire(WireError::Closed | WireError::Io(_))) => {}
    }
    ended
}

enum State {
    Between,
    InCommand { context: u8, bytes: Vec<u8> },
    InDataSet { context: u8, command: CommandSet, sink: Sink },
}

/// Where the bytes of a data set go.
enum Sink {
    Object(Box<Object>),
    /// The answer is known: the data set is read to its end, as the protocol wants, and dropped.
    Refused(Answer),
}

/// The status of a response, and the code that goes with it as Error Comment.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    code: Option<&'static str>,
}

impl Answer {
    fn of(status: u16) -> Self {
        Self { status, code: None }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self { status: status_of(refusal), code: Some(refusal.code()) }
    }
}

/// An object being received.
struct Object {
    incoming: Incoming,
    chunk: Vec<u8>,
    sop_class: Uid,
    instance: InstanceUid,
}

struct Exchange<'a> {
    association: &'a Association,
    intake: &'a Intake,
    stop: watch::Receiver<bool>,
    state: State,
}

impl Exchange<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<(), Ended> {
        loop {
            let pdu = if matches!(self.state, State::Between) {
                tokio::select! {
                    pdu = wire.receive() => pdu?,
                    () = stopped(&mut self.stop) => return Err(Ended::Stopping),
                }
            } else {
                wire.receive().await?
            };
            match pdu {
                Pdu::PData { data } => {
                    for value in data {
                        if let Some((context, response)) = self.value(value).await? {
                            respond(wire, context, &response).await?;
                        }
                    }
                }
                Pdu::ReleaseRQ if matches!(self.state, State::Between) => return Ok(()),
                Pdu::AbortRQ { .. } => return Err(Ended::ByPeer),
                _ => return Err(Ended::Violation),
            }
        }
    }

    /// Takes one presentation data value; gives the response that it completes.
    async fn value(&mut self, value: PDataValue) -> Result<Option<(u8, CommandSet)>, Ended> {
        let context = value.presentation_context_id;
        if !self.association.contexts.contains_key(&context) {
            return Err(Ended::Violation);
        }
        match (std::mem::replace(&mut self.state, State::Between), &value.value_type) {
            (State::Between, PDataValueType::Command) => self.command(context, Vec::new(), value).await,
            (State::InCommand { context: open, bytes }, PDataValueType::Command) if open == context => {
                self.command(context, bytes, value).await
            }
            (State::InDataSet { context: open, command, sink }, PDataValueType::Data) if open == context => {
                let sink = sink.take(value.data, self.intake).await;
                if !value.is_last {
                    self.state = State::InDataSet { context, command, sink };
                    return Ok(None);
                }
                let answer = self.complete(sink).await;
                Ok(Some((context, response(&command, answer))))
            }
            _ => Err(Ended::Violation),
        }
    }

    async fn command(
        &mut self,
        context: u8,
        mut bytes: Vec<u8>,
        value: PDataValue,
    ) -> Result<Option<(u8, CommandSet)>, Ended> {
        bytes.extend_from_slice(&value.data);
        if bytes.len() > MAX_COMMAND {
            return Err(Ended::Violation);
        }
        if !value.is_last {
            self.state = State::InCommand { context, bytes };
            return Ok(None);
        }
        let command = CommandSet::parse(&bytes).map_err(|_| Ended::Violation)?;
        let number = |element| command.number(element).map_err(|_| Ended::Violation);
        let (field, data_set) =
            (number(element::COMMAND_FIELD)?, number(element::DATA_SET_TYPE)? != NO_DATA_SET);
        match (field, data_set) {
            (C_CANCEL, false) => Ok(None),
            (C_STORE, true) => {
                number(element::MESSAGE_ID)?;
                let sink = self.open(context, &command).await;
                self.state = State::InDataSet { context, command, sink };
                Ok(None)
            }
            (C_STORE, false) => Err(Ended::Violation),
            (field, _) if field & RESPONSE != 0 => Err(Ended::Violation),
            (field, data_set) => {
                number(element::MESSAGE_ID)?;
                let status = if field == C_ECHO { status::SUCCESS } else { status::UNRECOGNISED_OPERATION };
                if !data_set {
                    return Ok(Some((context, response(&command, Answer::of(status)))));
                }
                self.state = State::InDataSet { context, command, sink: Sink::Refused(Answer::of(status)) };
                Ok(None)
            }
        }
    }

    /// Decides on a C-STORE request before its data set comes.
    async fn open(&self, context: u8, command: &CommandSet) -> Sink {
        let refused = |status| Sink::Refused(Answer::of(status));
        let Some(Context { purpose: Purpose::Storage { sop_class }, transfer_syntax }) =
            self.association.contexts.get(&context)
        else {
            return refused(status::SOP_CLASS_NOT_SUPPORTED);
        };
        if self.association.access != Access::Store {
            return refused(status::NOT_AUTHORISED);
        }
        if command.text(element::AFFECTED_SOP_CLASS) != sop_class.as_str() {
            return Sink::Refused(Answer::from(&Refusal::Mismatch { what: "SOP Class UID" }));
        }
        let Ok(instance) = InstanceUid::new(command.text(element::AFFECTED_SOP_INSTANCE)) else {
            return refused(status::INVALID_INSTANCE);
        };
        let header = meta_header(sop_class, &instance.0, transfer_syntax);
        let intake = self.intake.clone();
        match blocking(move || intake.begin(&header)).await {
            Ok(incoming) => {
                let sop_class = sop_class.clone();
                Sink::Object(Box::new(Object { incoming, chunk: Vec::new(), sop_class, instance }))
            }
            Err(refusal) => Sink::Refused(Answer::from(&refusal)),
        }
    }

    /// The data set is whole: checks it and files it. The status is final.
    async fn complete(&self, sink: Sink) -> Answer {
        let object = match sink {
            Sink::Object(object) => object,
            Sink::Refused(answer) => return answer,
        };
        let from = ReceivedFrom {
            protocol: Protocol::CStore,
            ae_title: Some(self.association.calling_ae_title.clone()),
            tls: false,
        };
        let origin = Origin { from, priority: self.association.priority, synthetic: false, domain: None };
        let intake = self.intake.clone();
        let filed: Result<Receipt, Refusal> = blocking(move || {
            let Object { mut incoming, chunk, sop_class, instance } = *object;
            incoming.write(&chunk)?;
            let announced = Announced { sop_class: &sop_class, instance: &instance };
            intake.file(check_dicom(incoming.seal()?, Some(&announced), origin), KeepRefused::No)
        })
        .await;
        match filed {
            Ok(_) => Answer::of(status::SUCCESS),
            Err(refusal) => Answer::from(&refusal),
        }
    }
}

impl Sink {
    /// Takes bytes. An object that fails is dropped at once, its file with it.
    async fn take(self, data: Vec<u8>, intake: &Intake) -> Self {
        let Self::Object(mut object) = self else { return self };
        object.chunk.extend_from_slice(&data);
        if object.chunk.len() < CHUNK {
            return Self::Object(object);
        }
        let written = blocking(move || {
            object.incoming.write(&object.chunk)?;
            object.chunk.clear();
            Ok(object)
        });
        match written.await {
            Ok(object) => Self::Object(object),
            Err(refusal) => {
                intake.metrics.refused(&refusal);
                Self::Refused(Answer::from(&refusal))
            }
        }
    }
}

/// Runs work on the disk off the network's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    // A panic in the work ends this object, not the association.
    spawn_blocking(work).await.unwrap_or(Err(Refusal::Stopped))
}

fn status_of(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Unparsable(error) if !is_machine_failure(error) => status::CANNOT_UNDERSTAND,
        Refusal::Mismatch { .. } => status::DATA_SET_MISMATCH,
        Refusal::Conflict => status::CONFLICT,
        Refusal::SyntheticMix => status::SYNTHETIC_MIX,
        _ => status::OUT_OF_RESOURCES,
    }
}

fn response(request: &CommandSet, answer: Answer) -> CommandSet {
    let number = |element| request.number(element).unwrap_or_default();
    let mut response = CommandSet::default()
        .with_number(element::COMMAND_FIELD, number(element::COMMAND_FIELD) | RESPONSE)
        .with_number(element::MESSAGE_ID_RESPONDED_TO, number(element::MESSAGE_ID))
        .with_number(element::DATA_SET_TYPE, NO_DATA_SET)
        .with_number(element::STATUS, answer.status);
    for uid in [element::AFFECTED_SOP_CLASS, element::AFFECTED_SOP_INSTANCE] {
        // A hostile text is not sent back.
        if let Ok(valid) = Uid::new(request.text(uid)) {
            response = response.with_uid(uid, valid.as_str());
        }
    }
    match answer.code {
        Some(code) => response.with_comment(code),
        None => response,
    }
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    context: u8,
    response: &CommandSet,
) -> Result<(), Ended> {
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: response.encode(),
    };
    Ok(wire.send(&Pdu::PData { data: vec![value] }).await?)
}
