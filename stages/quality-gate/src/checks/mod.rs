//! One file for each check: what is fixed about it, and how it judges. The bounds come from the configuration.

pub(crate) mod blur;
pub(crate) mod burned_in_text;
pub(crate) mod colour;
pub(crate) mod contrast;
pub(crate) mod decodable;
pub(crate) mod drift;
pub(crate) mod dropout;
pub(crate) mod duration;
pub(crate) mod fan;
pub(crate) mod frame_rate;
pub(crate) mod frames;
pub(crate) mod gain;
pub(crate) mod header;
pub(crate) mod resolution;
pub(crate) mod static_clip;
pub(crate) mod view;
