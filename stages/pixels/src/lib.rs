//! From bytes to right-coloured, timed, masked frames; one frame at a time.
//!
//! ```text
//!   bytes ─▶ prescan ─▶ header ─▶ fragments ─▶ probe ─▶ codec ─▶ colour ─▶ Frame ─▶ mask ─▶ MaskedFrame
//!            bounded    typed     one frame's  sizes    samples  once,     stays    tissue
//!            walk       attributes bytes       agree    as coded 8 bits    inside   only
//! ```
//! Invariants:
//! - Every byte is taken for hostile. No length, count or size is believed before it was compared with the bytes there
//!   are; nothing recurses; a fault is a typed error with a stable code, and never repeats text from the header.
//! - There is one reader of data sets ([`prescan`]): what was checked is what is decoded.
//! - Colours are converted once, here ([`Frame`]); codecs hand out components as coded.
//! - Codecs are C and Rust code of others. They run in a separate process with a memory limit and a wall clock, which is
//!   not this crate's business; this crate makes sure that they never see a codestream that contradicts the header.

mod clip;
mod codec;
mod colour;
mod error;
mod fragments;
mod frame;
mod grey;
pub mod header;
mod input;
mod mask;
mod masked_clip;
mod not_analysable;
mod palette;
pub mod prescan;
mod probe;
mod slide;
mod still;
mod thumbnails;
mod transfer_syntax;

pub use clip::{Clip, decode_one};
pub use error::DecodeError;
pub use fragments::FragmentError;
pub use frame::{Frame, Pixels};
pub use grey::GreyScale;
pub use header::{AttributeError, FrameTiming, ImageHeader};
pub use mask::{Mask, MaskError, MaskedFrame};
pub use masked_clip::{MaskedClip, thumbnail};
pub use not_analysable::NotAnalysable;
pub use palette::{Palette, PaletteError};
pub use prescan::{Header, Identity, Prescan, PrescanError, prescan_data_set, prescan_file};
pub use probe::CodestreamError;
pub use slide::{Slide, SlideError, TiffError};
pub use stage::MaskSource;
pub use thumbnails::Thumbnails;
pub use transfer_syntax::{Encoding, PixelCoding, TransferSyntax};
