//! Transfer syntaxes (PS3.5 §10, PS3.6 table A-1): how the data set and its pixels are written.

use schemas::Uid;

/// Prefix of all standard transfer syntax UIDs.
const ROOT: &str = "1.2.840.10008.1.2";

/// How the elements of the data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Implicit VR, little endian.
    ImplicitLittle,
    /// Explicit VR, little endian.
    ExplicitLittle,
    /// Explicit VR, big endian (retired 2004, still found).
    ExplicitBig,
    /// Explicit VR, little endian, deflated as a whole.
    Deflated,
}

/// How the pixels of one frame are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelCoding {
    /// Uncompressed, one block of bytes for all frames.
    Native,
    /// Uncompressed, one fragment per frame (1.2.840.10008.1.2.1.98).
    EncapsulatedNative,
    /// Each frame deflated (1.2.840.10008.1.2.8.1).
    DeflatedFrame,
    /// Run length, one fragment per frame (PS3.5 annex G).
    Rle,
    /// JPEG baseline or extended: lossy DCT.
    JpegLossy,
    /// JPEG lossless (process 14).
    JpegLossless,
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000 and high-throughput JPEG 2000.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
    /// MPEG-2, MPEG-4, H.264, HEVC or an SMPTE stream.
    Video,
    /// A private or retired transfer syntax.
    Unknown,
}

/// A transfer syntax UID with what this crate knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSyntax {
    uid: Uid,
    encoding: Encoding,
    coding: PixelCoding,
}

impl TransferSyntax {
    /// Looks `uid` up. A UID that is not in the table is read as explicit VR little endian, as PS3.5 §A.4 demands of
    /// every encapsulated syntax, and its pixels are [`PixelCoding::Unknown`].
    pub fn new(uid: Uid) -> Self {
        use PixelCoding as P;
        let suffix = uid.as_str().strip_prefix(ROOT);
        let (encoding, coding) = match suffix {
            Some("") => (Encoding::ImplicitLittle, P::Native),
            Some(".2") => (Encoding::ExplicitBig, P::Native),
            Some(".1.99") => (Encoding::Deflated, P::Native),
            Some(other) => (
                Encoding::ExplicitLittle,
                match other {
                    ".1" => P::Native,
                    ".1.98" => P::EncapsulatedNative,
                    ".8.1" => P::DeflatedFrame,
                    ".5" => P::Rle,
                    ".4.50" | ".4.51" => P::JpegLossy,
                    ".4.57" | ".4.70" => P::JpegLossless,
                    ".4.80" | ".4.81" => P::JpegLs,
                    ".4.90" | ".4.91" | ".4.201" | ".4.202" | ".4.203" => P::Jpeg2000,
                    ".4.110" | ".4.111" | ".4.112" => P::JpegXl,
                    ".4.100" | ".4.100.1" | ".4.101" | ".4.101.1" | ".4.102" | ".4.102.1" | ".4.103"
                    | ".4.103.1" | ".4.104" | ".4.104.1" | ".4.105" | ".4.105.1" | ".4.106" | ".4.106.1"
                    | ".4.107" | ".4.108" | ".7.1" | ".7.2" | ".7.3" => P::Video,
                    _ => P::Unknown,
                },
            ),
            None => (Encoding::ExplicitLittle, P::Unknown),
        };
        Self { uid, encoding, coding }
    }

    /// The UID.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// How the data set is written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How the pixels are written.
    pub fn coding(&self) -> PixelCoding {
        self.coding
    }
}
