//! DIMSE command sets (PS3.7 §6.3, annex E): flat, group 0000, implicit VR little endian.

use std::collections::BTreeMap;

/// Verification SOP Class.
pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Command Data Set Type (0000,0800): no data set follows.
pub(crate) const NO_DATA_SET: u16 = 0x0101;
/// Set in the command field of every response.
pub(crate) const RESPONSE: u16 = 0x8000;
/// C-STORE-RQ.
pub(crate) const C_STORE: u16 = 0x0001;
/// C-ECHO-RQ.
pub(crate) const C_ECHO: u16 = 0x0030;
/// C-CANCEL-RQ, which has no response.
pub(crate) const C_CANCEL: u16 = 0x0FFF;

/// Elements of group 0000 that are read or written here.
pub(crate) mod element {
    pub(crate) const GROUP_LENGTH: u16 = 0x0000;
    pub(crate) const AFFECTED_SOP_CLASS: u16 = 0x0002;
    pub(crate) const COMMAND_FIELD: u16 = 0x0100;
    pub(crate) const MESSAGE_ID: u16 = 0x0110;
    pub(crate) const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
    pub(crate) const PRIORITY: u16 = 0x0700;
    pub(crate) const DATA_SET_TYPE: u16 = 0x0800;
    pub(crate) const STATUS: u16 = 0x0900;
    pub(crate) const ERROR_COMMENT: u16 = 0x0902;
    pub(crate) const AFFECTED_SOP_INSTANCE: u16 = 0x1000;
}

/// Statuses of a C-STORE (PS3.4 table B.2-1, PS3.7 annex C).
pub(crate) mod status {
    pub(crate) const SUCCESS: u16 = 0x0000;
    pub(crate) const INVALID_INSTANCE: u16 = 0x0117;
    pub(crate) const SOP_CLASS_NOT_SUPPORTED: u16 = 0x0122;
    pub(crate) const NOT_AUTHORISED: u16 = 0x0124;
    pub(crate) const UNRECOGNISED_OPERATION: u16 = 0x0211;
    pub(crate) const OUT_OF_RESOURCES: u16 = 0xA700;
    pub(crate) const DATA_SET_MISMATCH: u16 = 0xA900;
    pub(crate) const CANNOT_UNDERSTAND: u16 = 0xC000;
    /// Ours, in the range of failures: another object is known under this UID.
    pub(crate) const CONFLICT: u16 = 0xC111;
    /// Ours: a phantom in a patient's study, or the reverse.
    pub(crate) const SYNTHETIC_MIX: u16 = 0xC112;
}

/// Bytes that are no command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command set cannot be read: {0}")]
pub(crate) struct CommandError(&'static str);

/// A command set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandSet(BTreeMap<u16, Vec<u8>>);

impl CommandSet {
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, CommandError> {
        let mut elements = BTreeMap::new();
        while !bytes.is_empty() {
            let (head, rest) =
                bytes.split_first_chunk::<8>().ok_or(CommandError("it ends inside an element"))?;
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *head;
            let element = u16::from_le_bytes([e0, e1]);
            if [g0, g1] != [0, 0] {
                return Err(CommandError("an element is not of group 0000"));
            }
            if elements.last_key_value().is_some_and(|(last, _)| *last >= element) {
                return Err(CommandError("elements are not in ascending order"));
            }
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, rest) =
                rest.split_at_checked(length).ok_or(CommandError("an element is longer than the rest"))?;
            elements.insert(element, value.to_vec());
            bytes = rest;
        }
        Ok(Self(elements))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (element, value) in &self.0 {
            push(&mut body, *element, value);
        }
        let mut bytes = Vec::with_capacity(body.len() + 12);
        push(&mut bytes, element::GROUP_LENGTH, &(body.len() as u32).to_le_bytes());
        bytes.append(&mut body);
        bytes
    }

    pub(crate) fn number(&self, element: u16) -> Result<u16, CommandError> {
        let value = self.0.get(&element).map(Vec::as_slice);
        match value {
            Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
            _ => Err(CommandError("a required number is missing or not two bytes")),
        }
    }

    /// The text of an element without padding; empty if it is absent or no ASCII.
    pub(crate) fn text(&self, element: u16) -> &str {
        let value = self.0.get(&element).map(Vec::as_slice).unwrap_or_default();
        std::str::from_utf8(value).unwrap_or_default().trim_end_matches(['\0', ' '])
    }

    pub(crate) fn with_number(mut self, element: u16, value: u16) -> Self {
        self.0.insert(element, value.to_le_bytes().to_vec());
        self
    }

    pub(crate) fn with_uid(self, element: u16, uid: &str) -> Self {
        self.with_text(element, uid, 0)
    }

    pub(crate) fn with_comment(self, comment: &str) -> Self {
        self.with_text(element::ERROR_COMMENT, comment, b' ')
    }

    fn with_text(mut self, element: u16, text: &str, padding: u8) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), padding);
        self.0.insert(element, value);
        self
    }
}

fn push(bytes: &mut Vec<u8>, element: u16, value: &[u8]) {
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&element.to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend_from_slice(value);
}
