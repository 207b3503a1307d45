//! What a file is, by its first bytes. Its name says nothing.

use std::{
    fs::File,
    io::{BufReader, Seek as _, SeekFrom},
};

use image::{ImageFormat, ImageReader};

/// Bytes looked at: the preamble, magic and first elements of a DICOM file.
pub(super) const OPENING: usize = 256;

/// Media Storage Directory Storage (PS3.3 F), as it stands in the meta header of a DICOMDIR.
const MEDIA_DIRECTORY: &[u8] = b"UI\x14\x001.2.840.10008.1.3.10";

/// Pixels of a picture along one side.
const MAX_SIDE: u32 = 100_000;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Dicom,
    /// A meta header at the very start, with or without `DICM` before it.
    DicomWithoutPreamble {
        has_magic: bool,
    },
    /// A data set without meta header, as far as eight bytes can tell.
    DataSet {
        transfer_syntax: &'static str,
    },
    /// A DICOM file whose preamble begins like a program.
    Executable,
    MediaDirectory,
    Picture(Picture),
    Zip,
    Unknown,
}

impl Format {
    pub(super) fn of(opening: &[u8]) -> Self {
        if opening.get(128..132) == Some(b"DICM") {
            let programs: [&[u8]; 4] = [b"MZ", b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe"];
            let is_program = programs.iter().any(|magic| opening.starts_with(magic));
            if is_program {
                return Self::Executable;
            }
            let is_directory = opening.windows(MEDIA_DIRECTORY.len()).any(|bytes| bytes == MEDIA_DIRECTORY);
            return if is_directory { Self::MediaDirectory } else { Self::Dicom };
        }
        if opening.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Self::Picture(Picture::Png);
        }
        if opening.starts_with(b"\xff\xd8\xff") {
            return Self::Picture(Picture::Jpeg);
        }
        let tiff: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
        if tiff.iter().any(|magic| opening.starts_with(magic)) {
            return Self::Picture(Picture::Tiff);
        }
        if opening.starts_with(b"PK\x03\x04") || opening.starts_with(b"PK\x05\x06") {
            return Self::Zip;
        }
        if opening.starts_with(b"DICM") {
            return Self::DicomWithoutPreamble { has_magic: true };
        }
        match opening {
            [2, 0, _, 0, a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
                Self::DicomWithoutPreamble { has_magic: false }
            }
            // Group 0008 of an explicit data set has two capitals after the tag, an implicit one a short length.
            [8, 0, _, 0, a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
                Self::DataSet { transfer_syntax: "1.2.840.10008.1.2.1" }
            }
            [8, 0, _, 0, _, _, 0, 0, ..] => Self::DataSet { transfer_syntax: "1.2.840.10008.1.2" },
            _ => Self::Unknown,
        }
    }
}

/// A picture that is no DICOM object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    Png,
    Jpeg,
    Tiff,
}

impl Picture {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
        }
    }

    /// Can its header be read, and is its size a picture's? Pixels are decoded elsewhere.
    pub(super) fn is_readable(self, file: &mut File) -> bool {
        let format = match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Tiff => ImageFormat::Tiff,
        };
        if file.seek(SeekFrom::Start(0)).is_err() {
            return false;
        }
        let sides = ImageReader::with_format(BufReader::new(file), format).into_dimensions();
        sides.is_ok_and(|(width, height)| (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height))
    }
}
