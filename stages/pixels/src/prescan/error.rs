//! What the pre-scanner refuses, with where and by how much.

use std::{fmt, io};

use dicom_core::Tag;
use schemas::UidError;

/// Why bytes are no data set that this system takes.
///
/// No variant repeats a value of the data set: values may be patient data. Offsets count from the start of the file,
/// or of the inflated data set.
#[derive(Debug, thiserror::Error)]
pub enum PrescanError {
    /// No `DICM` at byte 128.
    #[error(
        "no DICOM file: `DICM` is missing at byte 128; export the object with a preamble and meta header"
    )]
    NotDicom,
    /// The meta header has no usable transfer syntax.
    #[error("meta header has no Transfer Syntax UID (0002,0010); export the object again")]
    MissingTransferSyntax,
    /// The bytes end inside an element.
    #[error("data set ends at byte {offset} inside element {tag}; the object is truncated, send it again")]
    Truncated {
        /// The element being read.
        tag: ShownTag,
        /// Where the bytes ended.
        offset: u64,
    },
    /// A sequence or item of undefined length was never closed.
    #[error(
        "data set ends at byte {offset} with {open} sequences or items still open; send the object again"
    )]
    Unclosed {
        /// Where the bytes ended.
        offset: u64,
        /// Sequences and items without a delimiter.
        open: usize,
    },
    /// A length that goes beyond the bytes there are, or beyond the enclosing item.
    #[error("element {tag} at byte {offset} declares {length} bytes where {left} are left")]
    LengthBeyondEnd {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
        /// Declared length.
        length: u64,
        /// Bytes left in the enclosing item or file.
        left: u64,
    },
    /// A value longer than the limit.
    #[error("element {tag} at byte {offset} declares {length} bytes; the limit is {limit}")]
    ValueTooLong {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
        /// Declared length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Undefined length where only a defined one is allowed.
    #[error("element {tag} at byte {offset} has undefined length, which its VR does not allow")]
    UndefinedLength {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
    },
    /// Two bytes that are no value representation: often an implicit data set under an explicit transfer syntax.
    #[error(
        "element {tag} at byte {offset} has VR bytes {vr:02X?}; does the data set match its transfer syntax?"
    )]
    InvalidVr {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
        /// The two bytes.
        vr: [u8; 2],
    },
    /// Sequences nested too deep.
    #[error("element {tag} at byte {offset} nests deeper than {limit} levels", limit = super::limits::MAX_DEPTH)]
    TooDeep {
        /// The sequence.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
    },
    /// Too many elements.
    #[error("more than {limit} elements before byte {offset}", limit = super::limits::MAX_ELEMENTS)]
    TooManyElements {
        /// Where the limit was passed.
        offset: u64,
    },
    /// Group numbers that fall, a repeated element, or a group that no data set holds.
    #[error("element {tag} at byte {offset} is out of order after {previous}")]
    OutOfOrder {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
        /// The element before it.
        previous: ShownTag,
    },
    /// An item or delimiter where an element belongs, or the reverse.
    #[error("element {tag} at byte {offset} does not belong here: {expected} expected")]
    Misplaced {
        /// The element.
        tag: ShownTag,
        /// Where it starts.
        offset: u64,
        /// What belongs there.
        expected: &'static str,
    },
    /// The deflated data set grows too much.
    #[error("deflated data set inflates beyond {limit} bytes")]
    InflateLimit {
        /// The limit in bytes.
        limit: u64,
    },
    /// A UID that breaks PS3.5 §9.1.
    #[error("element {tag} holds no valid UID")]
    InvalidUid {
        /// The element.
        tag: ShownTag,
        /// What is wrong with it.
        source: UidError,
    },
    /// An element that intake cannot do without.
    #[error("element {tag} is missing; it identifies the object")]
    Missing {
        /// The element.
        tag: ShownTag,
    },
    /// An element whose value cannot be read as what it must be.
    #[error("element {tag} cannot be read as {expected}")]
    Malformed {
        /// The element.
        tag: ShownTag,
        /// What it must be.
        expected: &'static str,
    },
    /// The file system or the deflate stream failed.
    #[error("reading the data set failed")]
    Io(#[source] io::Error),
}

impl PrescanError {
    /// A stable code for statuses, dead letters and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotDicom => "NOT_DICOM",
            Self::MissingTransferSyntax => "MISSING_TRANSFER_SYNTAX",
            Self::Truncated { .. } => "TRUNCATED",
            Self::Unclosed { .. } => "UNCLOSED",
            Self::LengthBeyondEnd { .. } => "LENGTH_BEYOND_END",
            Self::ValueTooLong { .. } => "VALUE_TOO_LONG",
            Self::UndefinedLength { .. } => "UNDEFINED_LENGTH",
            Self::InvalidVr { .. } => "INVALID_VR",
            Self::TooDeep { .. } => "TOO_DEEP",
            Self::TooManyElements { .. } => "TOO_MANY_ELEMENTS",
            Self::OutOfOrder { .. } => "OUT_OF_ORDER",
            Self::Misplaced { .. } => "MISPLACED",
            Self::InflateLimit { .. } => "INFLATE_LIMIT",
            Self::InvalidUid { .. } => "INVALID_UID",
            Self::Missing { .. } => "MISSING_ELEMENT",
            Self::Malformed { .. } => "MALFORMED_ELEMENT",
            Self::Io(_) => "IO",
        }
    }
}

/// A tag written `(gggg,eeee)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShownTag(pub Tag);

impl fmt::Display for ShownTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.0.group(), self.0.element())
    }
}

impl fmt::Debug for ShownTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
