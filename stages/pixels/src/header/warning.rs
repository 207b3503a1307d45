//! What a header may get wrong without making the picture unreadable.

use schemas::ReasonCode;

/// A frame time, duration or rate that cannot be true was passed over.
pub const TIMING_INVALID: ReasonCode = ReasonCode::known("TIMING_INVALID");
/// Two timing attributes differ by more than 10 %.
pub const TIMING_CONFLICT: ReasonCode = ReasonCode::known("TIMING_CONFLICT");
/// An ultrasound region does not lie inside the image; it was ignored.
pub const REGION_OUTSIDE_IMAGE: ReasonCode = ReasonCode::known("REGION_OUTSIDE_IMAGE");
/// A region ended one pixel beyond the image and was clamped.
pub const REGION_CLAMPED: ReasonCode = ReasonCode::known("REGION_CLAMPED");
/// Heart Rate is 0 or not possible; it counts as absent.
pub const HEART_RATE_INVALID: ReasonCode = ReasonCode::known("HEART_RATE_INVALID");
/// R waves outside the clip, not finite, or without frame times to compare with; those were dropped.
pub const R_WAVES_DROPPED: ReasonCode = ReasonCode::known("R_WAVES_DROPPED");
/// R waves were not in order; they were sorted.
pub const R_WAVES_UNSORTED: ReasonCode = ReasonCode::known("R_WAVES_UNSORTED");
/// The window of the header is not usable; the full range is shown.
pub const WINDOW_INVALID: ReasonCode = ReasonCode::known("WINDOW_INVALID");
/// Rescale slope or intercept are not usable; stored values are taken as they are.
pub const RESCALE_INVALID: ReasonCode = ReasonCode::known("RESCALE_INVALID");
/// There are more frames in the pixel data than Number of Frames declares; the declared number is used.
pub const EXTRA_FRAMES: ReasonCode = ReasonCode::known("EXTRA_FRAMES");
/// The offset table does not point at frames; the fragments were scanned instead.
pub const OFFSET_TABLE_INVALID: ReasonCode = ReasonCode::known("OFFSET_TABLE_INVALID");
