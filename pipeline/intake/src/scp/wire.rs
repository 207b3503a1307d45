//! PDUs over a stream, each within a time limit and a size limit.

use std::{io, time::Duration};

use bytes::BytesMut;
use dicom_ul::{
    association::{Error as UlError, read_pdu_from_wire_async},
    pdu::{AbortRQServiceProviderReason, AbortRQSource, PDU_HEADER_SIZE, Pdu, ReadError, write_pdu},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// How long a peer may take to close after the last PDU.
const LINGER: Duration = Duration::from_secs(1);

/// Why there is no next PDU.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("peer closed the connection")]
    Closed,
    #[error("peer took longer than {0:?} for a PDU")]
    Timeout(Duration),
    #[error("bytes are no PDU, or one over the negotiated length")]
    Malformed,
    #[error("connection failed")]
    Io(#[source] io::Error),
}

/// One connection.
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    max_pdu: u32,
    limit: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, max_pdu: u32, limit: Duration) -> Self {
        let buffer = BytesMut::with_capacity((max_pdu + PDU_HEADER_SIZE) as usize);
        Self { stream, buffer, max_pdu, limit }
    }

    pub(crate) fn set_timeout(&mut self, limit: Duration) {
        self.limit = limit;
    }

    pub(crate) fn max_pdu(&self) -> u32 {
        self.max_pdu
    }

    /// The next PDU. The limit covers the whole of it, so a peer that drips byte by byte meets it too.
    pub(crate) async fn receive(&mut self) -> Result<Pdu, WireError> {
        let strict = true; // A PDU over the limit is refused by its header, before its bytes are read.
        let read = read_pdu_from_wire_async(&mut self.stream, &mut self.buffer, self.max_pdu, strict);
        match timeout(self.limit, read).await {
            Err(_) => Err(WireError::Timeout(self.limit)),
            Ok(Ok(pdu)) => Ok(pdu),
            Ok(Err(UlError::ConnectionClosed { .. })) => Err(WireError::Closed),
            Ok(Err(UlError::ReceivePdu { source: ReadError::ReadPdu { source, .. }, .. })) => {
                Err(WireError::Io(source))
            }
            Ok(Err(_)) => Err(WireError::Malformed),
        }
    }

    pub(crate) async fn send(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|error| WireError::Io(io::Error::other(error)))?;
        match timeout(self.limit, self.stream.write_all(&bytes)).await {
            Err(_) => Err(WireError::Timeout(self.limit)),
            Ok(sent) => sent.map_err(WireError::Io),
        }
    }

    /// Sends the last PDU, closes our side and waits a moment for the peer to close its own: closing with bytes unread
    /// would reset the connection, and the peer might never see the PDU. It may be gone: then there is nobody to tell.
    pub(crate) async fn finish(&mut self, pdu: &Pdu) {
        let last = async {
            self.send(pdu).await?;
            self.stream.shutdown().await.map_err(WireError::Io)?;
            let mut unread = [0; 4096];
            let drained = async { while self.stream.read(&mut unread).await.is_ok_and(|read| read > 0) {} };
            timeout(LINGER, drained).await.map_err(|_| WireError::Timeout(LINGER))
        };
        if let Err(error) = last.await {
            tracing::debug!(%error, "peer did not close after the last PDU");
        }
    }

    /// A-ABORT by the service provider.
    pub(crate) async fn abort(&mut self, reason: AbortRQServiceProviderReason) {
        self.finish(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) }).await;
    }
}
