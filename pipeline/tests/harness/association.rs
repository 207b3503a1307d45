//! A DICOM peer that sends whatever it likes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, Pdu, PresentationContextProposed, UserVariableItem, read_pdu,
    write_pdu,
};

use super::{PATIENCE, process::MODALITY};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const US_MULTIFRAME: &str = "1.2.840.10008.5.1.4.1.1.3.1";

/// Presentation context of native pixels, and of JPEG.
#[derive(Clone, Copy)]
pub(crate) enum Context {
    Explicit = 1,
    Jpeg = 3,
}

/// What the peer answered to a C-STORE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    /// An A-ABORT, or the connection closed.
    Aborted,
}

/// An association for ultrasound cines.
pub(crate) struct Association {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Association {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut association = Self { stream, buffer: Vec::new() };
        let context = |id, transfer_syntax: &str| PresentationContextProposed {
            id,
            abstract_syntax: US_MULTIFRAME.to_owned(),
            transfer_syntaxes: vec![transfer_syntax.to_owned()],
        };
        association.send(&Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: MODALITY.to_owned(),
            called_ae_title: "PRESCREEN".to_owned(),
            application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
            presentation_contexts: vec![context(1, EXPLICIT), context(3, JPEG)],
            user_variables: vec![UserVariableItem::MaxLength(16_384)],
        }));
        let answer = association.receive();
        assert!(matches!(answer, Some(Pdu::AssociationAC(_))), "{answer:?}");
        association
    }

    fn send(&mut self, pdu: &Pdu) {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).unwrap();
        // A peer that has closed already answers by that.
        drop(self.stream.write_all(&bytes));
    }

    fn receive(&mut self) -> Option<Pdu> {
        loop {
            let mut rest = self.buffer.as_slice();
            if let Some(pdu) = read_pdu(&mut rest, 1 << 20, true).unwrap() {
                self.buffer = rest.to_vec();
                return Some(pdu);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(read) if read > 0 => self.buffer.extend_from_slice(&chunk[..read]),
                _ => return None,
            }
        }
    }

    fn value(&mut self, context: Context, value_type: PDataValueType, is_last: bool, data: &[u8]) {
        let presentation_context_id = context as u8;
        let value = PDataValue { presentation_context_id, value_type, is_last, data: data.to_vec() };
        self.send(&Pdu::PData { data: vec![value] });
    }

    /// One C-STORE of `data_set` under the name `instance`.
    pub(crate) fn store(&mut self, context: Context, instance: &[u8], data_set: &[u8]) -> Answer {
        self.value(context, PDataValueType::Command, true, &store_command(instance));
        let mut chunks = data_set.chunks(10_000).peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            self.value(context, PDataValueType::Data, is_last, chunk);
        }
        let Some(Pdu::PData { data }) = self.receive() else { return Answer::Aborted };
        let bytes = &data[0].data;
        // (0000,0900) Status, two bytes.
        let at = bytes.windows(8).position(|window| window == [0, 0, 0, 9, 2, 0, 0, 0]).unwrap();
        Answer::Status(u16::from_le_bytes([bytes[at + 8], bytes[at + 9]]))
    }
}

/// A C-STORE-RQ, its group length first (PS3.7 §9.3.1.1).
fn store_command(instance: &[u8]) -> Vec<u8> {
    let elements: [(u16, &[u8]); 6] = [
        (0x0002, US_MULTIFRAME.as_bytes()),
        (0x0100, &[1, 0]),
        (0x0110, &[1, 0]),
        (0x0700, &[0, 0]),
        (0x0800, &[1, 0]),
        (0x1000, instance),
    ];
    let mut body = Vec::new();
    for (element, value) in elements {
        let length = value.len().next_multiple_of(2);
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&element.to_le_bytes());
        body.extend_from_slice(&(length as u32).to_le_bytes());
        body.extend_from_slice(value);
        body.resize(body.len() + length - value.len(), 0);
    }
    let mut bytes = vec![0, 0, 0, 0, 4, 0, 0, 0];
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// One element in explicit VR little endian with a short length (PS3.5 §7.1.2).
pub(crate) fn element((group, number): (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    let length = value.len().next_multiple_of(2);
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend_from_slice(vr.as_bytes());
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len() + length - value.len(), if vr == "UI" { 0 } else { b' ' });
    bytes
}
