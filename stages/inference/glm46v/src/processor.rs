//! From a request to the model's input: all that happens before the model, on the caller's thread.
//!
//! ```text
//! messages ─ template ─▶ "…<|begin_of_image|><|image|><|end_of_image|>…<|video|>…"
//!                           │ a video becomes one picture and one time per frame group
//!                           ▼
//!                        tokenizer ─▶ ids with one placeholder per picture
//!                           │ each placeholder repeated once per vision token
//!                           ▼
//! pictures ─ smart_resize ─ grids ─▶ input ids, positions     the length is checked here,
//!     └────────── resize, normalise, patches ─▶ pixel values  before any pixel is touched
//! ```
//!
//! Source: transformers `processing_glm46v.py`.

use image::RgbImage;
use sha2::{Digest as _, Sha256};

use crate::chat::{ChatTemplate, Message, Part, Thinking};
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::continuations::Continuation;
use crate::error::{LoadError, Media, RequestError};
use crate::grammar::{Grammar, GrammarError};
use crate::patches::{Grid, patchify, target_size};
use crate::picture_config::{PictureConfig, PictureConfigs};
use crate::prepared::{PictureDigest, Prepared};
use crate::rope::{Run, positions};
use crate::tokenizer::{self, Tokenizer};
use crate::video::{FrameTiming, Video, sample_frames, timestamp};

/// Everything that happens to a request before the model. Immutable; shared by all callers.
pub struct Processor {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    pictures: PictureConfigs,
    image_token_id: u32,
    context: usize,
}

/// A conversation to continue.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// In order; the last one is usually the user's.
    pub messages: Vec<Message>,
    /// Whether the model may reason first.
    pub thinking: Thinking,
}

/// One picture to patchify: an image, or the frames of a temporal group.
struct Source<'a> {
    media: Media,
    config: &'a PictureConfig,
    frames: Vec<&'a RgbImage>,
    /// Height and width in pixels after resizing.
    size: (u32, u32),
}

impl Source<'_> {
    fn grid(&self) -> Grid {
        let side = self.config.patch_size;
        Grid { height: self.size.0 as usize / side, width: self.size.1 as usize / side }
    }

    /// Within one processor, whose two configurations do not change.
    fn digest(&self) -> PictureDigest {
        let mut hash = Sha256::new();
        hash.update([match self.media {
            Media::Image => 0,
            Media::Video => 1,
        }]);
        hash.update(self.size.0.to_le_bytes());
        hash.update(self.size.1.to_le_bytes());
        for frame in &self.frames {
            hash.update(frame.width().to_le_bytes());
            hash.update(frame.height().to_le_bytes());
            hash.update(frame.as_raw());
        }
        hash.finalize().into()
    }
}

impl Processor {
    pub(crate) fn new(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let ModelConfig { image_token_id, text, .. } = &checkpoint.config;
        Ok(Self {
            tokenizer: Tokenizer::parse(&checkpoint.tokenizer, &checkpoint.config)?,
            template: ChatTemplate::parse(checkpoint.template.clone(), checkpoint.special_tokens.clone())?,
            pictures: checkpoint.pictures.clone(),
            image_token_id: *image_token_id,
            context: text.max_position_embeddings,
        })
    }

    /// Renders, encodes and patchifies. `max_new_tokens` counts against the context.
    pub fn prepare(&self, prompt: &Prompt, max_new_tokens: usize) -> Result<Prepared, RequestError> {
        self.prepare_continued(prompt, "", max_new_tokens)
    }

    /// The same for an answer that begins with `answer_prefix`: its tokens stand behind the prompt, where the model's own
    /// would. That is transformers' `continue_final_message`, for a template that writes an assistant's turn as it begins
    /// one (`add_generation_prompt`).
    pub fn prepare_continued(
        &self,
        prompt: &Prompt,
        answer_prefix: &str,
        max_new_tokens: usize,
    ) -> Result<Prepared, RequestError> {
        if max_new_tokens == 0 {
            return Err(RequestError::NothingToGenerate);
        }
        self.refuse_control_tokens(&prompt.messages)?;
        let rendered = self.template.render(&prompt.messages, prompt.thinking)?;
        let (text, sources) = self.place_pictures(&rendered, &prompt.messages)?;
        let mut ids = self.tokenizer.encode(&text)?;
        let prefix = self.answer_tokens(answer_prefix)?;
        ids.extend_from_slice(&prefix);
        Ok(Prepared { prefix_tokens: prefix.len(), ..self.expand(&ids, &sources, max_new_tokens)? })
    }

    /// Tokens of continuations of an answer that begins with `answer_prefix`.
    pub(crate) fn continuations(
        &self,
        answer_prefix: &str,
        continuations: &[String],
    ) -> Result<Vec<Continuation>, RequestError> {
        let prefix = self.answer_tokens(answer_prefix)?;
        let one = |(index, text): (usize, &String)| {
            let together = self.answer_tokens(&format!("{answer_prefix}{text}"))?;
            let tokens = match together.strip_prefix(prefix.as_slice()) {
                Some(rest) if !rest.is_empty() => rest.to_vec(),
                _ => self.answer_tokens(text)?,
            };
            let (last, path) = tokens.split_last().ok_or(RequestError::EmptyContinuation { index })?;
            Ok(Continuation { path: path.to_vec(), last: self.tokenizer.beginning_like(*last)? })
        };
        continuations.iter().enumerate().map(one).collect()
    }

    /// Tokens of a text as the model would write it.
    fn answer_tokens(&self, text: &str) -> Result<Vec<u32>, RequestError> {
        match self.tokenizer.control_token_in(text) {
            Some(token) => Err(RequestError::ControlTokenInAnswer { token: token.to_owned() }),
            None => self.tokenizer.encode(text),
        }
    }

    /// A grammar for answers that fit a JSON Schema, for [`Request::grammar`](crate::Request::grammar).
    pub fn grammar(&self, schema: serde_json::Value) -> Result<Grammar, GrammarError> {
        self.tokenizer.grammar(schema)
    }

    /// Text of generated ids without control tokens.
    pub fn text(&self, ids: &[u32]) -> Result<String, RequestError> {
        self.tokenizer.decode(ids)
    }

    /// One token as it is written, control tokens by their names; U+FFFD where it is a part of a character.
    pub fn token_text(&self, id: u32) -> String {
        self.tokenizer.token_text(id)
    }

    /// Patches on a side of one vision token.
    pub(crate) fn merge_size(&self) -> usize {
        self.pictures.image.merge_size
    }

    fn refuse_control_tokens(&self, messages: &[Message]) -> Result<(), RequestError> {
        for (index, message) in messages.iter().enumerate() {
            for part in &message.content {
                if let Part::Text(text) = part
                    && let Some(token) = self.tokenizer.control_token_in(text)
                {
                    return Err(RequestError::ControlTokenInText { message: index, token: token.to_owned() });
                }
            }
        }
        Ok(())
    }

    /// Replaces each video placeholder by its frame groups, and lists the pictures in the order of the prompt.
    fn place_pictures<'a>(
        &'a self,
        rendered: &str,
        messages: &'a [Message],
    ) -> Result<(String, Vec<Source<'a>>), RequestError> {
        let parts = || messages.iter().flat_map(|message| &message.content);
        let count = |media| parts().filter(|part| media_of(part) == Some(media)).count();
        for (media, token) in [(Media::Image, tokenizer::IMAGE), (Media::Video, tokenizer::VIDEO)] {
            let (given, found) = (count(media), rendered.matches(token).count());
            if given != found {
                return Err(RequestError::Placeholders { media, given, found });
            }
        }
        let mut images = parts().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            _ => None,
        });
        let mut videos = parts().filter_map(|part| match part {
            Part::Video(video) => Some(video),
            _ => None,
        });
        let (mut text, mut sources) = (String::with_capacity(rendered.len()), Vec::new());
        let (mut image_index, mut video_index) = (0, 0);
        let mut rest = rendered;
        while let Some((start, media, token)) = next_placeholder(rest) {
            let (before, after) = rest.split_at(start);
            text.push_str(before);
            rest = after.strip_prefix(token).unwrap_or(after);
            match media {
                Media::Image => {
                    text.push_str(token);
                    if let Some(image) = images.next() {
                        sources.push(self.image(image_index, image)?);
                        image_index += 1;
                    }
                }
                Media::Video => {
                    if let Some(video) = videos.next() {
                        self.video(video_index, video, &mut text, &mut sources)?;
                        video_index += 1;
                    }
                }
            }
        }
        text.push_str(rest);
        Ok((text, sources))
    }

    fn image<'a>(&'a self, index: usize, image: &'a RgbImage) -> Result<Source<'a>, RequestError> {
        let config = &self.pictures.image;
        let size = checked_size(config, config.temporal_patch_size, Media::Image, index, image)?;
        Ok(Source { media: Media::Image, config, frames: vec![image], size })
    }

    fn video<'a>(
        &'a self,
        index: usize,
        video: &'a Video,
        text: &mut String,
        sources: &mut Vec<Source<'a>>,
    ) -> Result<(), RequestError> {
        let config = &self.pictures.video;
        let group = config.picture.temporal_patch_size;
        let wrong_times = |problem| RequestError::FrameTimes { index, problem };
        let chosen: Vec<(usize, f64)> = match &video.timing {
            FrameTiming::Clip { fps } if !(fps.is_finite() && *fps > 0.0) => {
                return Err(wrong_times("the frame rate is not a number above 0"));
            }
            FrameTiming::Clip { fps } => sample_frames(config, group, video.frames.len(), *fps)
                .into_iter()
                .map(|i| (i, i as f64 / fps))
                .collect(),
            FrameTiming::Chosen { seconds } if seconds.len() != video.frames.len() => {
                return Err(wrong_times("there is not exactly one time per frame"));
            }
            FrameTiming::Chosen { seconds } if seconds.iter().any(|s| !s.is_finite() || *s < 0.0) => {
                return Err(wrong_times("a time is negative or not a number"));
            }
            FrameTiming::Chosen { seconds } => seconds.iter().copied().enumerate().collect(),
        };
        let frames: Vec<(&RgbImage, f64)> =
            chosen.iter().filter_map(|(i, t)| Some((video.frames.get(*i)?, *t))).collect();
        let Some((first, _)) = frames.first().filter(|_| frames.len() >= group) else {
            return Err(RequestError::TooFewFrames { index, frames: frames.len(), needed: group });
        };
        if let Some(frame) = video.frames.iter().position(|f| f.dimensions() != first.dimensions()) {
            return Err(RequestError::FrameSize { index, frame });
        }
        let size = checked_size(&config.picture, frames.len(), Media::Video, index, first)?;
        for group_frames in frames.chunks(group) {
            let seconds = group_frames.first().map_or(0.0, |(_, seconds)| *seconds);
            let mut pictures: Vec<&RgbImage> = group_frames.iter().map(|(frame, _)| *frame).collect();
            // A last group that is not full repeats its last frame.
            if let Some(last) = pictures.last().copied() {
                pictures.resize(group, last);
            }
            text.push_str(tokenizer::BEGIN_OF_IMAGE);
            text.push_str(tokenizer::IMAGE);
            text.push_str(tokenizer::END_OF_IMAGE);
            text.push_str(&timestamp(config.generation, seconds));
            sources.push(Source { media: Media::Video, config: &config.picture, frames: pictures, size });
        }
        Ok(())
    }

    fn expand(
        &self,
        ids: &[u32],
        sources: &[Source<'_>],
        max_new_tokens: usize,
    ) -> Result<Prepared, RequestError> {
        let grids: Vec<Grid> = sources.iter().map(Source::grid).collect();
        let merge = self.merge_size();
        let tokens_of = |grid: &Grid| grid.vision_tokens(merge);
        let placeholders = ids.iter().filter(|id| **id == self.image_token_id).count();
        if placeholders != grids.len() {
            let (given, found) = (grids.len(), placeholders);
            return Err(RequestError::Placeholders { media: Media::Image, given, found });
        }
        let prompt_tokens = ids.len() - grids.len() + grids.iter().map(tokens_of).sum::<usize>();
        if prompt_tokens == 0 {
            return Err(RequestError::EmptyPrompt);
        }
        if prompt_tokens.saturating_add(max_new_tokens) > self.context {
            return Err(RequestError::TooLong { prompt_tokens, max_new_tokens, limit: self.context });
        }
        let mut input_ids = Vec::with_capacity(prompt_tokens);
        let (mut runs, mut picture_starts) = (Vec::new(), Vec::new());
        let mut remaining = grids.iter();
        for (i, text) in ids.split(|id| *id == self.image_token_id).enumerate() {
            if i > 0
                && let Some(grid) = remaining.next()
            {
                picture_starts.push(input_ids.len());
                input_ids.extend(std::iter::repeat_n(self.image_token_id, tokens_of(grid)));
                runs.push(Run::Picture(*grid));
            }
            input_ids.extend_from_slice(text);
            runs.push(Run::Text(text.len()));
        }
        let (positions, next_position) = positions(&runs, merge);
        let mut pixel_values = Vec::new();
        for source in sources {
            pixel_values.extend(patchify(source.config, &source.frames, source.size));
        }
        let picture_digests = sources.iter().map(Source::digest).collect();
        Ok(Prepared {
            input_ids,
            positions,
            next_position,
            grids,
            pixel_values,
            picture_starts,
            picture_digests,
            prefix_tokens: 0,
        })
    }
}

fn media_of(part: &Part) -> Option<Media> {
    match part {
        Part::Text(_) => None,
        Part::Image(_) => Some(Media::Image),
        Part::Video(_) => Some(Media::Video),
    }
}

/// The first placeholder of either kind.
fn next_placeholder(text: &str) -> Option<(usize, Media, &'static str)> {
    [(Media::Image, tokenizer::IMAGE), (Media::Video, tokenizer::VIDEO)]
        .into_iter()
        .filter_map(|(media, token)| Some((text.find(token)?, media, token)))
        .min_by_key(|(start, ..)| *start)
}

fn checked_size(
    config: &PictureConfig,
    frames: usize,
    media: Media,
    index: usize,
    picture: &RgbImage,
) -> Result<(u32, u32), RequestError> {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return Err(RequestError::EmptyPicture { media, index, width, height });
    }
    target_size(config, frames, width, height).ok_or(RequestError::AspectRatio {
        media,
        index,
        width,
        height,
    })
}
