//! Pictures and frames from data URLs. Nothing is fetched: a server that fetches what clients name reaches what they
//! cannot.

use std::io::Cursor;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use glm46v::{RgbImage, Video};
use image::{ImageFormat, ImageReader};

use crate::{question::Limits, refusal::Refusal};

/// A picture, `data:image/png;base64,…` or JPEG.
pub(crate) fn picture(url: &str, param: &str, limits: Limits) -> Result<RgbImage, Refusal> {
    let encoded = url
        .strip_prefix("data:image/")
        .and_then(|rest| rest.split_once(";base64,"))
        .filter(|(kind, _)| ["png", "jpeg", "jpg"].contains(kind))
        .map(|(_, encoded)| encoded)
        .ok_or_else(|| {
            Refusal::invalid(param, "expected data:image/png;base64,… or data:image/jpeg;base64,…")
        })?;
    decode(encoded, param, limits)
}

/// Frames that the client chose, `data:video/jpeg;base64,<frame>,<frame>…`, each PNG or JPEG: vLLM's form. Their times are
/// those of a densely sampled clip ([`Video::of_chosen`]); two of them are one temporal patch.
pub(crate) fn video(url: &str, param: &str, limits: Limits) -> Result<Video, Refusal> {
    let frames = url.strip_prefix("data:video/jpeg;base64,").ok_or_else(|| {
        Refusal::invalid(param, "expected data:video/jpeg;base64,<frame>,<frame>… of PNG or JPEG frames")
    })?;
    let frames = frames.split(',').map(|frame| decode(frame, param, limits)).collect::<Result<_, _>>()?;
    Ok(Video::of_chosen(frames))
}

fn decode(encoded: &str, param: &str, limits: Limits) -> Result<RgbImage, Refusal> {
    let refused = |message: &str| Refusal::invalid(param, message);
    let bytes = STANDARD.decode(encoded).map_err(|_| refused("it is not base64"))?;
    let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = image::guess_format(&bytes) else {
        return Err(refused("it is neither PNG nor JPEG"));
    };
    let size = ImageReader::with_format(Cursor::new(&bytes), format).into_dimensions();
    let (width, height) = size.map_err(|_| refused("its size cannot be read"))?;
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(Refusal::TooLarge { what: "picture", most: limits.max_pixels, unit: "pixels" });
    }
    let picture = ImageReader::with_format(Cursor::new(&bytes), format).decode();
    Ok(picture.map_err(|_| refused("it cannot be decoded"))?.into_rgb8())
}
