//! Requests, and what transformers makes of them. `fixtures/questions.py` writes them and says what is in them.

use std::collections::BTreeMap;
use std::path::Path;

use glm46v::{FrameTiming, Message, Part, Prompt, Role, Thinking, Video};
use image::RgbImage;
use safetensors::SafeTensors;
use serde_json::Value;

/// A safetensors file of the fixtures.
pub(crate) struct Tensors(Vec<u8>);

impl Tensors {
    pub(crate) fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    fn parsed(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.parsed().names().into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.parsed().tensor(name).unwrap().shape().to_vec()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.parsed().tensor(name).unwrap().data().to_vec()
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.bytes(name).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub(crate) fn u32(&self, name: &str) -> Vec<u32> {
        self.bytes(name).chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// A tensor of shape `[height, width, 3]`, or each of `[n, height, width, 3]`.
    pub(crate) fn pictures(&self, name: &str) -> Vec<RgbImage> {
        let shape = self.shape(name);
        let (height, width) = (shape[shape.len() - 3], shape[shape.len() - 2]);
        self.bytes(name)
            .chunks_exact(height * width * 3)
            .map(|pixels| RgbImage::from_raw(width as u32, height as u32, pixels.to_vec()).unwrap())
            .collect()
    }
}

/// One request, and what transformers makes of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) about: Value,
    pub(crate) tensors: Tensors,
    pub(crate) prompt: Prompt,
}

/// All cases of a folder of fixtures, by checkpoint and in the order of their names; `stop`, which needs a changed
/// checkpoint, is under its own name.
pub(crate) fn cases(fixtures: &Path) -> BTreeMap<String, Vec<Case>> {
    let folder = fixtures.join("cases");
    let pictures = Tensors::open(&folder.join("pictures.safetensors"));
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    let mut cases: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for name in names {
        let checkpoint = name.split_once('.').map_or(name.as_str(), |(checkpoint, _)| checkpoint);
        cases.entry(checkpoint.to_owned()).or_default().push(Case::load(&folder, &name, &pictures));
    }
    cases
}

impl Case {
    fn load(folder: &Path, name: &str, pictures: &Tensors) -> Self {
        let stem = folder.join(name);
        let json = std::fs::read(stem.with_added_extension("json")).unwrap();
        let about: Value = serde_json::from_slice(&json).unwrap();
        Self {
            name: name.to_owned(),
            tensors: Tensors::open(&stem.with_added_extension("safetensors")),
            prompt: prompt(&about, pictures),
            about,
        }
    }

    /// The steps whose scores are kept.
    pub(crate) fn steps(&self) -> Vec<usize> {
        serde_json::from_value(self.about["steps"].clone()).unwrap()
    }
}

fn prompt(about: &Value, pictures: &Tensors) -> Prompt {
    let part = |part: &Value| match part["type"].as_str().unwrap() {
        "text" => Part::Text(part["text"].as_str().unwrap().to_owned()),
        "image" => Part::Image(pictures.pictures(part["picture"].as_str().unwrap()).remove(0)),
        "video" => Part::Video(video(&about["video"], pictures)),
        other => panic!("part {other}"),
    };
    let messages = about["messages"].as_array().unwrap().iter().map(|message| Message {
        role: match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => panic!("role {other}"),
        },
        content: message["content"].as_array().unwrap().iter().map(part).collect(),
    });
    let thinking = if about["thinking"].as_bool().unwrap() { Thinking::On } else { Thinking::Off };
    Prompt { messages: messages.collect(), thinking }
}

fn video(about: &Value, pictures: &Tensors) -> Video {
    let frames = pictures.pictures(about["clip"].as_str().unwrap());
    let fps = about["fps"].as_f64().unwrap();
    let timing = if about["sampled"].as_bool().unwrap() {
        FrameTiming::Clip { fps }
    } else {
        FrameTiming::Chosen { seconds: (0..frames.len()).map(|i| i as f64 / fps).collect() }
    };
    Video { frames, timing }
}
