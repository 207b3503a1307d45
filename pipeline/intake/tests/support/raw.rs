//! A peer that speaks PDUs as it likes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, Pdu, PresentationContextProposed, UserVariableItem, read_pdu,
    write_pdu,
};

use crate::support::{EXPLICIT, IMPLICIT, Object, PATIENCE, US_MULTIFRAME, VERIFICATION};

pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(crate) fn context(id: u8, sop_class: &str, transfer_syntaxes: &[&str]) -> PresentationContextProposed {
    PresentationContextProposed {
        id,
        abstract_syntax: sop_class.to_owned(),
        transfer_syntaxes: transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
    }
}

pub(crate) fn request(
    calling: &str,
    called: &str,
    contexts: Vec<PresentationContextProposed>,
) -> AssociationRQ {
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: calling.to_owned(),
        called_ae_title: called.to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: contexts,
        user_variables: vec![UserVariableItem::MaxLength(16_384)],
    }
}

/// A command set; group length first, as the standard wants.
pub(crate) fn command(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (element, value) in elements {
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&element.to_le_bytes());
        body.extend_from_slice(&(value.len() as u32).to_le_bytes());
        body.extend_from_slice(value);
    }
    let mut bytes = vec![0, 0, 0, 0, 4, 0, 0, 0];
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

pub(crate) fn number(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

pub(crate) fn store_command(sop_class: &str, instance: &[u8]) -> Vec<u8> {
    let even = |text: &[u8]| {
        let mut text = text.to_vec();
        text.resize(text.len().next_multiple_of(2), 0);
        text
    };
    command(&[
        (0x0002, even(sop_class.as_bytes())),
        (0x0100, number(0x0001)),
        (0x0110, number(1)),
        (0x0700, number(0)),
        (0x0800, number(0x0001)),
        (0x1000, even(instance)),
    ])
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Connects and requests an association; gives the answer too.
    pub(crate) fn associate(address: SocketAddr, request: AssociationRQ) -> (Self, Option<Pdu>) {
        let mut raw = Self::connect(address);
        raw.send(&Pdu::AssociationRQ(request));
        let answer = raw.receive();
        (raw, answer)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, pdu: &Pdu) {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).unwrap();
        self.write(&bytes);
    }

    pub(crate) fn value(&mut self, context: u8, value_type: PDataValueType, is_last: bool, data: &[u8]) {
        let value = PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() };
        self.send(&Pdu::PData { data: vec![value] });
    }

    /// The next PDU; `None` when the peer closed.
    pub(crate) fn receive(&mut self) -> Option<Pdu> {
        loop {
            let mut rest = self.buffer.as_slice();
            if let Some(pdu) = read_pdu(&mut rest, 1 << 20, true).unwrap() {
                self.buffer = rest.to_vec();
                return Some(pdu);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                // A reset is an end too.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// The status of the response that comes next.
    pub(crate) fn status(&mut self) -> u16 {
        let Some(Pdu::PData { data }) = self.receive() else { panic!("no response") };
        let bytes = &data[0].data;
        let at = bytes.windows(8).position(|window| window == [0, 0, 0, 9, 2, 0, 0, 0]).unwrap();
        u16::from_le_bytes([bytes[at + 8], bytes[at + 9]])
    }

    /// One C-STORE; gives its status.
    pub(crate) fn store(&mut self, context: u8, command: &[u8], data_set: &[u8]) -> u16 {
        self.value(context, PDataValueType::Command, true, command);
        let mut chunks = data_set.chunks(10_000).peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            self.value(context, PDataValueType::Data, is_last, chunk);
        }
        self.status()
    }
}

/// An association with a storage and a verification context.
pub(crate) fn store_context(address: SocketAddr) -> Raw {
    let contexts = vec![context(1, US_MULTIFRAME, &[EXPLICIT]), context(3, VERIFICATION, &[IMPLICIT])];
    let (raw, answer) = Raw::associate(address, request("MODALITY", "PRESCREEN", contexts));
    assert!(matches!(answer, Some(Pdu::AssociationAC(_))), "{answer:?}");
    raw
}

/// The C-STORE-RQ for an object.
pub(crate) fn command_for(object: &Object) -> Vec<u8> {
    store_command(&object.sop_class, object.instance.as_bytes())
}
