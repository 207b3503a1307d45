//! The fixtures that `fixtures/make_fixtures.py` makes from transformers.

use std::path::{Path, PathBuf};

use glm46v::{Checkpoint, Engine, EngineOptions, FrameTiming, Message, Part, Prompt, Role, Thinking, Video};
use image::RgbImage;
use safetensors::SafeTensors;
use serde_json::Value;

pub(crate) fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn fixtures() -> PathBuf {
    crate_folder().join("fixtures")
}

pub(crate) fn untrained() -> PathBuf {
    crate_folder().join("checkpoints/untrained")
}

pub(crate) fn engine(folder: &Path) -> Engine {
    Engine::start(Checkpoint::open(folder).unwrap(), EngineOptions::default()).unwrap()
}

/// A copy of a checkpoint that a test may damage.
pub(crate) fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes a JSON file of a checkpoint.
pub(crate) fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(name);
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
}

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

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.parsed().tensor(name).unwrap().data().to_vec()
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.bytes(name).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub(crate) fn u32(&self, name: &str) -> Vec<u32> {
        self.bytes(name).chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// A tensor of shape `[height, width, 3]`, or a slice of `[n, height, width, 3]`.
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
}

impl Case {
    pub(crate) fn load(name: &str) -> Self {
        let stem = fixtures().join("cases").join(name);
        Self {
            name: name.to_owned(),
            about: serde_json::from_slice(&std::fs::read(stem.with_added_extension("json")).unwrap())
                .unwrap(),
            tensors: Tensors::open(&stem.with_added_extension("safetensors")),
        }
    }

    /// All cases of a checkpoint.
    pub(crate) fn of(checkpoint: &str) -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(fixtures().join("cases"))
            .unwrap()
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .filter(|name| name.starts_with(&format!("{checkpoint}.")))
            .collect();
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }

    pub(crate) fn prompt(&self) -> Prompt {
        let messages = self.about["messages"].as_array().unwrap().iter().map(|message| Message {
            role: match message["role"].as_str().unwrap() {
                "system" => Role::System,
                "user" => Role::User,
                "assistant" => Role::Assistant,
                other => panic!("role {other}"),
            },
            content: message["content"].as_array().unwrap().iter().map(|part| self.part(part)).collect(),
        });
        let thinking = if self.about["thinking"].as_bool().unwrap() { Thinking::On } else { Thinking::Off };
        Prompt { messages: messages.collect(), thinking }
    }

    fn part(&self, part: &Value) -> Part {
        match part["type"].as_str().unwrap() {
            "text" => Part::Text(part["text"].as_str().unwrap().to_owned()),
            "image" => Part::Image(self.tensors.pictures(&format!("image_{}", part["index"])).remove(0)),
            "video" => {
                let frames = self.tensors.pictures("frames");
                let fps = self.about["video"]["fps"].as_f64().unwrap();
                let timing = if self.about["video"]["sampled"].as_bool().unwrap() {
                    FrameTiming::Clip { fps }
                } else {
                    FrameTiming::Chosen { seconds: (0..frames.len()).map(|i| i as f64 / fps).collect() }
                };
                Part::Video(Video { frames, timing })
            }
            other => panic!("part {other}"),
        }
    }
}
