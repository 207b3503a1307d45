//! What the fuzzer calls, and what the ordinary tests replay on the committed corpus: the public door of the crate, on bytes
//! that someone else made up. Each must return, without a panic, and what it lets through must keep its promises.
//!
//! Only [`prescan`] takes a file as it is. The other two put the bytes where they hurt, behind a header that is in order:
//! ```text
//!   fragments    coding ▸ frames ▸ table length ▸ extended offset table ▸ items of the pixel data
//!   codestream   coding ▸ photometric ▸ one frame
//! ```
use std::io::Cursor;

use pixels::{Clip, Frame, TransferSyntax, prescan_data_set, prescan_file};
use schemas::Uid;

/// Transfer syntaxes by the part of their UID behind 1.2.840.10008.1.2.
const CODINGS: [&str; 11] =
    [".5", ".4.50", ".4.70", ".4.90", ".4.201", ".4.110", ".1.98", ".8.1", ".4.80", ".1", ".2"];
const COLUMNS: u16 = 16;
const ROWS: u16 = 16;

/// The pre-scanner: a file, and the same bytes as a data set of each encoding.
pub(crate) fn prescan(bytes: &[u8]) {
    let _ = prescan_file(Cursor::new(bytes));
    for suffix in ["", ".1", ".2", ".1.99"] {
        if let Ok(uid) = Uid::new(&format!("1.2.840.10008.1.2{suffix}")) {
            let _ = prescan_data_set(Cursor::new(bytes), &TransferSyntax::new(uid));
        }
    }
}

/// The fragment index: frames by offset tables, counts and marks.
pub(crate) fn fragments(bytes: &[u8]) {
    let Some((&[coding, frames, table], rest)) = bytes.split_first_chunk() else { return };
    let (table, items) = rest.split_at(usize::from(table).min(rest.len()));
    let frames = u32::from(frames % 9);
    let mut elements = header(Photometric::Grey8, frames);
    put(&mut elements, (0x7FE0, 0x0001), "OV", table);
    elements.extend([0xE0, 0x7F, 0x10, 0x00]);
    elements.extend(b"OB\0\0\xFF\xFF\xFF\xFF");
    elements.extend(items);
    if let Ok(mut clip) = Clip::open(Cursor::new(file(coding, &elements))) {
        assert_eq!(clip.frames(), frames);
        for index in 0..frames {
            check(clip.frame(index).ok());
        }
        assert!(clip.frame(frames).is_err());
    }
}

/// The codestream probe, and the codec behind it.
pub(crate) fn codestream(bytes: &[u8]) {
    let Some((&[coding, photometric], frame)) = bytes.split_first_chunk() else { return };
    let photometric = Photometric::ALL[usize::from(photometric) % Photometric::ALL.len()];
    let mut elements = header(photometric, 1);
    elements.extend([0xE0, 0x7F, 0x10, 0x00]);
    elements.extend(b"OB\0\0\xFF\xFF\xFF\xFF");
    item(&mut elements, &[]);
    item(&mut elements, frame);
    elements.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    if let Ok(mut clip) = Clip::open(Cursor::new(file(coding, &elements))) {
        check(clip.frame(0).ok());
    }
}

/// A picture that comes out has the size that was declared.
fn check(frame: Option<Frame>) {
    if let Some(frame) = frame {
        assert_eq!((frame.width, frame.height), (u32::from(COLUMNS), u32::from(ROWS)));
        assert_eq!(frame.into_rgb().len(), 3 * usize::from(COLUMNS) * usize::from(ROWS));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Photometric {
    Grey8,
    Grey16,
    Rgb,
    YbrFull,
    YbrByCodec,
}

impl Photometric {
    const ALL: [Self; 5] = [Self::Grey8, Self::Grey16, Self::Rgb, Self::YbrFull, Self::YbrByCodec];
}

fn header(photometric: Photometric, frames: u32) -> Vec<u8> {
    let (name, samples, bits): (&str, u16, u16) = match photometric {
        Photometric::Grey8 => ("MONOCHROME2", 1, 8),
        Photometric::Grey16 => ("MONOCHROME2", 1, 16),
        Photometric::Rgb => ("RGB", 3, 8),
        Photometric::YbrFull => ("YBR_FULL", 3, 8),
        Photometric::YbrByCodec => ("YBR_RCT", 3, 8),
    };
    let mut bytes = Vec::new();
    put(&mut bytes, (0x0008, 0x0016), "UI", b"1.2.840.10008.5.1.4.1.1.3.1");
    put(&mut bytes, (0x0008, 0x0018), "UI", b"2.25.3");
    put(&mut bytes, (0x0020, 0x000D), "UI", b"2.25.1");
    put(&mut bytes, (0x0020, 0x000E), "UI", b"2.25.2");
    put(&mut bytes, (0x0028, 0x0002), "US", &samples.to_le_bytes());
    put(&mut bytes, (0x0028, 0x0004), "CS", name.as_bytes());
    put(&mut bytes, (0x0028, 0x0008), "IS", frames.to_string().as_bytes());
    put(&mut bytes, (0x0028, 0x0010), "US", &ROWS.to_le_bytes());
    put(&mut bytes, (0x0028, 0x0011), "US", &COLUMNS.to_le_bytes());
    put(&mut bytes, (0x0028, 0x0100), "US", &bits.to_le_bytes());
    put(&mut bytes, (0x0028, 0x0101), "US", &bits.to_le_bytes());
    put(&mut bytes, (0x0028, 0x0102), "US", &(bits - 1).to_le_bytes());
    bytes
}

/// One explicit VR little endian element, padded to an even length.
fn put(into: &mut Vec<u8>, (group, element): (u16, u16), vr: &str, value: &[u8]) {
    let padding = value.len() % 2;
    into.extend(group.to_le_bytes());
    into.extend(element.to_le_bytes());
    into.extend(vr.as_bytes());
    let length = value.len() + padding;
    if vr == "OV" {
        into.extend([0, 0]);
        into.extend((length as u32).to_le_bytes());
    } else {
        into.extend((length as u16).to_le_bytes());
    }
    into.extend(value);
    into.extend([if vr == "UI" { 0 } else { b' ' }].repeat(padding));
}

fn item(into: &mut Vec<u8>, value: &[u8]) {
    let padding = value.len() % 2;
    into.extend([0xFE, 0xFF, 0x00, 0xE0]);
    into.extend(((value.len() + padding) as u32).to_le_bytes());
    into.extend(value);
    into.extend([0].repeat(padding));
}

fn file(coding: u8, elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let suffix = CODINGS[usize::from(coding) % CODINGS.len()];
    put(&mut bytes, (0x0002, 0x0010), "UI", format!("1.2.840.10008.1.2{suffix}").as_bytes());
    bytes.extend(elements);
    bytes
}
