//! Is the picture sharp? The measures are shared with the keyframes; `golden` holds them against OpenCV.

pub(crate) use raster::{laplacian_variance, reblur};
