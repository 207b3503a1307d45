//! Whole, honest objects that nobody here can look at: stored, announced, and never an error of the machine.

use crate::transfer_syntax::PixelCoding;

/// Why an image is not analysable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAnalysable {
    /// No pixel data: a report, a document, a presentation state.
    #[error("the object holds no pixel data")]
    NoPixelData,
    /// Float or double pixel data.
    #[error("pixels are floating point numbers, which no stage reads")]
    FloatPixels,
    /// JPEG-LS in a build without the feature.
    #[error("pixels are JPEG-LS; build with feature `jpeg-ls` to read them")]
    JpegLs,
    /// JPEG XL with a preview or an embedded ICC profile.
    #[error("pixels are JPEG XL with a preview or an embedded colour profile, which is not read here")]
    JpegXlExtras,
    /// MPEG-2, H.264, HEVC, SMPTE.
    #[error("pixels are a video stream, which has no decoder here")]
    Video,
    /// JPEG extended with 12 bits a sample.
    #[error("pixels are 12-bit JPEG, which has no decoder here")]
    Jpeg12Bit,
    /// Hierarchical, arithmetic or lossless predictor JPEG outside DICOM's processes.
    #[error("pixels are coded by a JPEG process that has no decoder here")]
    JpegProcess,
    /// JPEG 2000 with subsampled components.
    #[error("pixels are JPEG 2000 with subsampled colour, which is not read here")]
    SubsampledJpeg2000,
    /// A private or retired transfer syntax.
    #[error("the transfer syntax is private or retired; no decoder here reads it")]
    TransferSyntax,
    /// 1, 32 or 64 bits a sample: segmentations, dose.
    #[error("samples have 1, 32 or 64 bits; images of 8 or 16 bits are read")]
    BitsAllocated,
    /// A photometric interpretation outside the ones images use today.
    #[error("the photometric interpretation is not one that is read here")]
    Photometric,
    /// Label or overview image of a slide: may show identity, never decoded.
    #[error("the image is the label or overview of a slide and is never decoded")]
    LabelOrOverview,
}

impl NotAnalysable {
    /// A stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPixelData => "NO_PIXEL_DATA",
            Self::FloatPixels => "FLOAT_PIXELS",
            Self::JpegLs => "JPEG_LS",
            Self::JpegXlExtras => "JPEG_XL_EXTRAS",
            Self::Video => "VIDEO",
            Self::Jpeg12Bit => "JPEG_12_BIT",
            Self::JpegProcess => "JPEG_PROCESS",
            Self::SubsampledJpeg2000 => "JPEG_2000_SUBSAMPLED",
            Self::TransferSyntax => "TRANSFER_SYNTAX",
            Self::BitsAllocated => "BITS_ALLOCATED",
            Self::Photometric => "PHOTOMETRIC",
            Self::LabelOrOverview => "LABEL_OR_OVERVIEW",
        }
    }

    /// What is known from the transfer syntax alone.
    pub fn of_coding(coding: PixelCoding) -> Option<Self> {
        match coding {
            PixelCoding::JpegLs if !cfg!(feature = "jpeg-ls") => Some(Self::JpegLs),
            PixelCoding::Video => Some(Self::Video),
            PixelCoding::Unknown => Some(Self::TransferSyntax),
            _ => None,
        }
    }
}

impl From<NotAnalysable> for schemas::NotAnalysable {
    fn from(reason: NotAnalysable) -> Self {
        match reason {
            NotAnalysable::NoPixelData => Self::NotAnImage,
            NotAnalysable::LabelOrOverview => Self::LabelOrOverview,
            NotAnalysable::FloatPixels | NotAnalysable::BitsAllocated | NotAnalysable::Photometric => {
                Self::Modality
            }
            NotAnalysable::JpegLs
            | NotAnalysable::JpegXlExtras
            | NotAnalysable::Video
            | NotAnalysable::Jpeg12Bit
            | NotAnalysable::JpegProcess
            | NotAnalysable::SubsampledJpeg2000
            | NotAnalysable::TransferSyntax => Self::TransferSyntax,
        }
    }
}
