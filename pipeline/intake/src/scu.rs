//! The DICOM Storage SCU: sends files over one association, or as many as their presentation contexts need.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use dicom_ul::{
    ClientAssociationOptions,
    association::{AsyncClientAssociation, Error as UlError},
    pdu::{PDataValue, PDataValueType, Pdu},
};
use pixels::{Header, PrescanError, prescan_file};
use tokio::{net::TcpStream, time::timeout};

use crate::dimse::{C_STORE, CommandSet, NO_DATA_SET, RESPONSE, element};

/// Presentation contexts of one association: the odd numbers up to 255.
const MAX_CONTEXTS: usize = 128;
/// Bytes of a P-DATA value besides its data, with room to spare (PS3.8 §9.3.5.1).
const VALUE_HEADER: u32 = 12;
/// Largest P-DATA PDU sent, whatever the peer takes.
const MAX_PDU: u32 = 128 << 10;

/// Whom to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its AE title.
    pub called_ae_title: String,
    /// Ours.
    pub calling_ae_title: String,
    /// How long it may take to connect, and for each answer.
    pub timeout: Duration,
}

/// What became of one file.
#[derive(Debug)]
pub struct Sent {
    /// The file.
    pub path: PathBuf,
    /// The peer's status; 0000 and the Bxxx warnings mean that it has the object.
    pub status: u16,
}

/// Why sending stopped. Files reported before it arrived; the others may be sent again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A file cannot be read.
    #[error("file cannot be read")]
    Read(#[source] io::Error),
    /// A file is no DICOM file.
    #[error("file is no DICOM file that can be sent")]
    Parse(#[source] PrescanError),
    /// No association, or it broke.
    #[error("association with {address} failed")]
    Association {
        /// The peer.
        address: SocketAddr,
        /// Why.
        source: Box<UlError>,
    },
    /// The peer does not take this kind of object.
    #[error("peer at {address} refuses SOP class {sop_class} in transfer syntax {transfer_syntax}")]
    Context {
        /// The peer.
        address: SocketAddr,
        /// SOP class of the object.
        sop_class: String,
        /// Transfer syntax of the object.
        transfer_syntax: String,
    },
    /// No answer in time.
    #[error("peer at {address} did not answer within {limit:?}")]
    Timeout {
        /// The peer.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// An answer that is none.
    #[error("peer at {address} answered {what}")]
    Protocol {
        /// The peer.
        address: SocketAddr,
        /// What came.
        what: &'static str,
    },
}

/// Sends `files` in order and calls `sent` after each answer.
pub async fn send(
    files: &[PathBuf],
    destination: &Destination,
    sent: &mut (dyn FnMut(Sent) + Send),
) -> Result<(), SendError> {
    let mut rest = files;
    while !rest.is_empty() {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut outgoing = Vec::new();
        for path in rest {
            let header = header(path)?;
            let kind = (header.sop_class.to_string(), header.transfer_syntax.uid().to_string());
            if !kinds.contains(&kind) {
                if kinds.len() == MAX_CONTEXTS {
                    break;
                }
                kinds.push(kind);
            }
            outgoing.push((path, header));
        }
        rest = rest.get(outgoing.len()..).unwrap_or_default();
        let mut sender = Sender::connect(destination, &kinds).await?;
        for (path, header) in outgoing {
            let status = sender.store(path, &header).await?;
            sent(Sent { path: path.clone(), status });
        }
        sender.release().await?;
    }
    Ok(())
}

/// SOP class and transfer syntax: one presentation context.
type Kind = (String, String);

fn header(path: &Path) -> Result<Header, SendError> {
    let file = File::open(path).map_err(SendError::Read)?;
    prescan_file(file).map(|prescan| prescan.header).map_err(SendError::Parse)
}

struct Sender<'a> {
    destination: &'a Destination,
    association: AsyncClientAssociation<TcpStream>,
    contexts: BTreeMap<Kind, u8>,
    message: u16,
}

impl<'a> Sender<'a> {
    async fn connect(destination: &'a Destination, kinds: &[Kind]) -> Result<Self, SendError> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(destination.calling_ae_title.clone())
            .called_ae_title(destination.called_ae_title.clone())
            .connection_timeout(destination.timeout)
            .read_timeout(destination.timeout)
            .write_timeout(destination.timeout);
        for (sop_class, transfer_syntax) in kinds {
            options = options.with_presentation_context(sop_class.clone(), vec![transfer_syntax.clone()]);
        }
        let address = destination.address;
        let failed = |error| SendError::Association { address, source: Box::new(error) };
        let limit = destination.timeout;
        let establish = timeout(limit, options.establish_async(address)).await;
        let mut association =
            establish.map_err(|_| SendError::Timeout { address, limit })?.map_err(failed)?;
        if let Err(error) = association.inner_stream().set_nodelay(true) {
            tracing::debug!(%error, "connection is gone already");
        }
        // Ids follow the order proposed: 1, 3, 5, … The list here holds accepted contexts only.
        let contexts = kinds.iter().zip((1_u8..=255).step_by(2));
        let is_accepted = |id| association.presentation_contexts().iter().any(|context| context.id == id);
        let contexts =
            contexts.filter(|(_, id)| is_accepted(*id)).map(|(kind, id)| (kind.clone(), id)).collect();
        Ok(Self { destination, association, contexts, message: 0 })
    }

    async fn store(&mut self, path: &Path, header: &Header) -> Result<u16, SendError> {
        let address = self.destination.address;
        let (sop_class, transfer_syntax) =
            (header.sop_class.to_string(), header.transfer_syntax.uid().to_string());
        let Some(&context) = self.contexts.get(&(sop_class.clone(), transfer_syntax.clone())) else {
            return Err(SendError::Context { address, sop_class, transfer_syntax });
        };
        self.message = self.message.wrapping_add(1);
        let command = CommandSet::default()
            .with_uid(element::AFFECTED_SOP_CLASS, &sop_class)
            .with_number(element::COMMAND_FIELD, C_STORE)
            .with_number(element::MESSAGE_ID, self.message)
            .with_number(element::PRIORITY, 0)
            .with_number(element::DATA_SET_TYPE, NO_DATA_SET - 1)
            .with_uid(element::AFFECTED_SOP_INSTANCE, header.instance.as_str());
        self.send(context, PDataValueType::Command, true, command.encode()).await?;
        // Own P-DATA PDUs: dicom-ul's writer answers 0 when its buffer is exactly full, which ends a copy.
        let room =
            self.association.acceptor_max_pdu_length().min(MAX_PDU).saturating_sub(VALUE_HEADER).max(1);
        let mut file = File::open(path).map_err(SendError::Read)?;
        file.seek(SeekFrom::Start(header.data_set_offset)).map_err(SendError::Read)?;
        let mut left = file.metadata().map_err(SendError::Read)?.len().saturating_sub(header.data_set_offset);
        while left > 0 {
            let mut data = vec![0; left.min(u64::from(room)) as usize];
            file.read_exact(&mut data).map_err(SendError::Read)?;
            left -= data.len() as u64;
            self.send(context, PDataValueType::Data, left == 0, data).await?;
        }
        self.status().await
    }

    async fn send(
        &mut self,
        context: u8,
        kind: PDataValueType,
        is_last: bool,
        data: Vec<u8>,
    ) -> Result<(), SendError> {
        let value = PDataValue { presentation_context_id: context, value_type: kind, is_last, data };
        let sent = self.association.send(&Pdu::PData { data: vec![value] }).await;
        sent.map_err(|error| self.failed(error))
    }

    /// The status of the response to the present message.
    async fn status(&mut self) -> Result<u16, SendError> {
        let address = self.destination.address;
        let protocol = |what| SendError::Protocol { address, what };
        let mut bytes = Vec::new();
        loop {
            let limit = self.destination.timeout;
            let received = timeout(limit, self.association.receive()).await;
            let received = received.map_err(|_| SendError::Timeout { address, limit })?;
            let data = match received.map_err(|error| self.failed(error))? {
                Pdu::PData { data } => data,
                Pdu::AbortRQ { .. } => return Err(protocol("with an abort")),
                _ => return Err(protocol("with another PDU than a response")),
            };
            for value in data {
                if value.value_type != PDataValueType::Command {
                    return Err(protocol("with a data set where a response belongs"));
                }
                bytes.extend_from_slice(&value.data);
                if value.is_last {
                    let unreadable = |_| protocol("with a response that cannot be read");
                    let response = CommandSet::parse(&bytes).map_err(unreadable)?;
                    let field = response.number(element::COMMAND_FIELD).map_err(unreadable)?;
                    let message = response.number(element::MESSAGE_ID_RESPONDED_TO).map_err(unreadable)?;
                    if (field, message) != (C_STORE | RESPONSE, self.message) {
                        return Err(protocol("another message than the one sent"));
                    }
                    return response.number(element::STATUS).map_err(unreadable);
                }
            }
        }
    }

    async fn release(self) -> Result<(), SendError> {
        let address = self.destination.address;
        self.association
            .release()
            .await
            .map_err(|error| SendError::Association { address, source: Box::new(error) })
    }

    fn failed(&self, error: UlError) -> SendError {
        SendError::Association { address: self.destination.address, source: Box::new(error) }
    }
}
