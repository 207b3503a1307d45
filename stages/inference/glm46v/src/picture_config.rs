//! How pictures become patches, from the checkpoint's processor files.
//!
//! ```text
//! transformers 5: processor_config.json { image_processor {…}, video_processor {…} }
//! transformers 4: preprocessor_config.json {…}, video_preprocessor_config.json {…}
//! ```
//!
//! What a file leaves out has the default of transformers' `Glm46VImageProcessor` and `Glm46VVideoProcessor`.

use serde_json::Value;

use crate::config::VisionConfig;
use crate::error::LoadError;
use crate::json_fields::Fields;

const PROCESSOR: &str = "processor_config.json";
const IMAGE: &str = "preprocessor_config.json";
const VIDEO: &str = "video_preprocessor_config.json";

/// Both halves of the processor.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureConfigs {
    /// For still pictures.
    pub image: PictureConfig,
    /// For videos.
    pub video: VideoConfig,
}

/// From RGB pixels to normalised patches.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureConfig {
    /// Smallest frames × height × width after resizing.
    pub min_pixels: u64,
    /// Largest frames × height × width after resizing.
    pub max_pixels: u64,
    /// Factor on 0..=255, or `None` to leave values as they are.
    pub rescale: Option<f64>,
    /// Mean and standard deviation per channel, after rescaling; `None` to skip.
    pub normalize: Option<Normalize>,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in one patch.
    pub temporal_patch_size: usize,
    /// Patches on a side of one vision token.
    pub merge_size: usize,
}

/// Mean and standard deviation of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalize {
    /// Subtracted.
    pub mean: [f64; 3],
    /// Divided by; above zero.
    pub std: [f64; 3],
}

/// As [`PictureConfig`], and how frames are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoConfig {
    /// What happens to each frame.
    pub picture: PictureConfig,
    /// Which model generation's rule for frames and timestamps.
    pub generation: VideoGeneration,
    /// Frames per second that 4.1V samples.
    pub fps: f64,
    /// Seconds above which 4.1V spreads its frames evenly.
    pub max_duration: f64,
}

/// The two rules differ in the frames they take and in the text between frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoGeneration {
    /// GLM-4.1V: fixed rate; the whole second as text.
    Glm41v,
    /// GLM-4.6V: a rate that falls with the duration; seconds with one decimal.
    Glm46v,
}

impl PictureConfigs {
    pub(crate) fn parse(files: ProcessorFiles<'_>, vision: &VisionConfig) -> Result<Self, LoadError> {
        let image = files.section("image_processor", IMAGE, files.image)?;
        // Folders from before video processors had their own file: transformers reads the image file for both.
        let video = match files.video {
            Some(_) => files.section("video_processor", VIDEO, files.video)?,
            None => files.section("video_processor", IMAGE, files.image)?,
        };
        Ok(Self {
            image: PictureConfig::parse(image, 28 * 28 * 15_000, vision)?,
            video: VideoConfig {
                picture: PictureConfig::parse(video, 28 * 28 * 2 * 30_000, vision)?,
                generation: files.generation(video)?,
                // The bounds keep a damaged file from asking for more frames than memory holds.
                fps: video.positive_up_to("fps", 2.0, 240.0)?,
                max_duration: video.positive_up_to("max_duration", 300.0, 3600.0)?,
            },
        })
    }
}

/// The files of a folder that describe its processor, as far as they are there.
#[derive(Clone, Copy)]
pub(crate) struct ProcessorFiles<'a> {
    pub(crate) processor: Option<&'a Value>,
    pub(crate) image: Option<&'a Value>,
    pub(crate) video: Option<&'a Value>,
}

impl<'a> ProcessorFiles<'a> {
    /// The section of the new layout's file where it has one, else the old layout's file.
    fn section(
        self,
        part: &'static str,
        file: &'static str,
        old: Option<&'a Value>,
    ) -> Result<Fields<'a>, LoadError> {
        if let Some(processor) = self.processor {
            let processor = Fields::root(PROCESSOR, processor)?;
            if processor.has(part) {
                return processor.part(part);
            }
        }
        match old {
            Some(value) => Fields::root(file, value),
            None => Err(LoadError::FieldMissing { file, field: part.to_owned() }),
        }
    }

    /// The first class name that any of the files gives.
    fn generation(self, video: Fields<'a>) -> Result<VideoGeneration, LoadError> {
        let mut named = video.optional::<String>("video_processor_type")?.map(|class| (video, class));
        for (file, value) in [(PROCESSOR, self.processor), (IMAGE, self.image)] {
            if named.is_none()
                && let Some(value) = value
            {
                let fields = Fields::root(file, value)?;
                named = fields.optional("processor_class")?.map(|class| (fields, class));
            }
        }
        match named {
            Some((_, class)) if class.starts_with("Glm46V") => Ok(VideoGeneration::Glm46v),
            Some((_, class)) if class.starts_with("Glm4v") => Ok(VideoGeneration::Glm41v),
            Some((fields, class)) => {
                Err(fields.value_error("processor_class", class, "Glm46VProcessor or Glm4vProcessor"))
            }
            None => Err(LoadError::FieldMissing { file: PROCESSOR, field: "processor_class".to_owned() }),
        }
    }
}

impl PictureConfig {
    fn parse(fields: Fields<'_>, default_max: u64, vision: &VisionConfig) -> Result<Self, LoadError> {
        /// `PIL.Image.Resampling.BICUBIC`.
        const BICUBIC: u64 = 3;
        let flag = |field| Ok::<bool, LoadError>(fields.optional(field)?.unwrap_or(true));
        let resample = fields.optional::<u64>("resample")?.unwrap_or(BICUBIC);
        if resample != BICUBIC {
            return Err(fields.value_error("resample", resample, "3 (bicubic)"));
        }
        if !flag("do_resize")? {
            return Err(fields.value_error("do_resize", "false", "true: sides must fit the patches"));
        }
        let size = fields.part("size")?;
        let min_pixels = size.optional("shortest_edge")?.unwrap_or(112 * 112);
        let max_pixels = size.optional("longest_edge")?.unwrap_or(default_max);
        if min_pixels == 0 || max_pixels < min_pixels {
            return Err(size.value_error("longest_edge", max_pixels, format!("at least {min_pixels}")));
        }
        let same = |field: &'static str, model: usize| -> Result<usize, LoadError> {
            match fields.count_or(field, model, 1024)? {
                count if count == model => Ok(count),
                count => Err(fields.value_error(field, count, format!("{model}, as in config.json"))),
            }
        };
        let normalize = if flag("do_normalize")? {
            let mean: [f64; 3] =
                fields.optional("image_mean")?.unwrap_or([0.481_454_66, 0.457_827_5, 0.408_210_73]);
            let std: [f64; 3] =
                fields.optional("image_std")?.unwrap_or([0.268_629_54, 0.261_302_58, 0.275_777_11]);
            if let Some(bad) = std.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
                return Err(fields.value_error("image_std", bad, "numbers above 0"));
            }
            Some(Normalize { mean, std })
        } else {
            None
        };
        Ok(Self {
            min_pixels,
            max_pixels,
            rescale: if flag("do_rescale")? {
                Some(fields.positive_or("rescale_factor", 1.0 / 255.0)?)
            } else {
                None
            },
            normalize,
            patch_size: same("patch_size", vision.patch_size)?,
            temporal_patch_size: same("temporal_patch_size", vision.temporal_patch_size)?,
            merge_size: same("merge_size", vision.spatial_merge_size)?,
        })
    }

    /// Side of a vision token in pixels.
    pub fn token_side(&self) -> usize {
        self.patch_size * self.merge_size
    }

    /// The model's input for each of the 256 values of each channel: everything between pixels and patches is a
    /// function of one byte.
    pub(crate) fn levels(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|level| {
                let value = level as f64 * self.rescale.unwrap_or(1.0);
                let value = match self.normalize {
                    // The arrays have as many entries as there are channels.
                    Some(Normalize { mean, std }) => (value - mean[channel]) / std[channel],
                    None => value,
                };
                value as f32
            })
        })
    }
}
