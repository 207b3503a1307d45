//! The preamble and meta header (PS3.10 §7.1) that intake writes before a data set that came without them.

use schemas::Uid;

/// Implementation Class UID (0002,0012) of what prescreen writes: `2.25.` and a fixed random UUID.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.186093627447389283157352463212946170371";
/// Implementation Version Name (0002,0013).
pub const IMPLEMENTATION_VERSION_NAME: &str = "PRESCREEN_1";

/// The 128 zero bytes and the magic that open a DICOM file.
pub(crate) fn preamble() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    bytes
}

/// Everything before the data set. It depends on the object alone and not on who sent it or when, so that the same
/// object gives the same file.
pub(crate) fn meta_header(sop_class: &Uid, instance: &Uid, transfer_syntax: &Uid) -> Vec<u8> {
    let mut elements = Vec::new();
    // (0002,0001) File Meta Information Version, OB: two reserved bytes and a 32-bit length.
    elements.extend_from_slice(&[0x02, 0x00, 0x01, 0x00, b'O', b'B', 0, 0, 2, 0, 0, 0, 0x00, 0x01]);
    text(&mut elements, 0x0002, *b"UI", sop_class.as_str());
    text(&mut elements, 0x0003, *b"UI", instance.as_str());
    text(&mut elements, 0x0010, *b"UI", transfer_syntax.as_str());
    text(&mut elements, 0x0012, *b"UI", IMPLEMENTATION_CLASS_UID);
    text(&mut elements, 0x0013, *b"SH", IMPLEMENTATION_VERSION_NAME);
    let mut bytes = preamble();
    // (0002,0000) File Meta Information Group Length, UL.
    bytes.extend_from_slice(&[0x02, 0x00, 0x00, 0x00, b'U', b'L', 4, 0]);
    bytes.extend_from_slice(&(elements.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&elements);
    bytes
}

/// One text element of group 0002, explicit VR little endian, padded to even length.
fn text(elements: &mut Vec<u8>, element: u16, vr: [u8; 2], value: &str) {
    let padding = value.len() % 2;
    elements.extend_from_slice(&[0x02, 0x00]);
    elements.extend_from_slice(&element.to_le_bytes());
    elements.extend_from_slice(&vr);
    elements.extend_from_slice(&((value.len() + padding) as u16).to_le_bytes());
    elements.extend_from_slice(value.as_bytes());
    elements.resize(elements.len() + padding, if vr == *b"UI" { 0 } else { b' ' });
}
