//! The models inside the binary, so that a fresh machine runs the whole system without a download.
//!
//! - [`Carried::Phantom`] was trained on phantoms (`pipeline/phantom/training`). It answers synthetic studies only, and
//!   everything it says is tagged so.
//! - [`Carried::Untrained`] has random weights: every report made with it abstains. It stands in where no answer is
//!   wanted, and shows that none is believed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::whole_file;

/// A checkpoint of the real architecture, small enough to be carried along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    Phantom,
    Untrained,
}

type Files = [(&'static str, &'static [u8]); 7];

macro_rules! files_of {
    ($folder:literal) => {
        files_of!($folder, "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
            "processor_config.json", "tokenizer.json", "tokenizer_config.json")
    };
    ($folder:literal, $($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../stages/inference/glm46v/checkpoints/", $folder, "/", $name)).as_slice())),*]
    };
}

const PHANTOM: Files = files_of!("phantom");
const UNTRAINED: Files = files_of!("untrained");

impl Carried {
    /// What the configuration and reports call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Phantom => "glm4v-phantom-demo",
            Self::Untrained => "glm4v-untrained",
        }
    }

    /// The one that `path` of `[model]` means; none where it is a folder's path. Empty means the trained one.
    pub(crate) fn named(path: &str) -> Option<Self> {
        match path {
            "" => Some(Self::Phantom),
            path => [Self::Phantom, Self::Untrained].into_iter().find(|carried| carried.name() == path),
        }
    }

    /// Writes the checkpoint below `data_dir`, unless it is there whole, and gives its folder.
    pub(crate) fn unpack(self, data_dir: &Path) -> io::Result<PathBuf> {
        let folder = data_dir.join("model").join(self.name());
        fs::create_dir_all(&folder)?;
        let files = match self {
            Self::Phantom => PHANTOM,
            Self::Untrained => UNTRAINED,
        };
        for (name, bytes) in files {
            let path = folder.join(name);
            if fs::read(&path).is_ok_and(|found| found == bytes) {
                continue;
            }
            whole_file::write(&path, bytes)?;
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::Carried;

    #[test]
    fn what_was_damaged_or_cut_short_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        for carried in [Carried::Phantom, Carried::Untrained] {
            let model = carried.unpack(folder.path()).expect("unpacked");
            let config = std::fs::read(model.join("config.json")).expect("a file");
            std::fs::write(model.join("config.json"), &config[..10]).expect("damaged");
            carried.unpack(folder.path()).expect("unpacked again");
            assert_eq!(std::fs::read(model.join("config.json")).expect("a file"), config);
        }
    }

    #[test]
    fn an_empty_path_means_the_trained_one_and_a_folder_none() {
        assert_eq!(Carried::named(""), Some(Carried::Phantom));
        assert_eq!(Carried::named("glm4v-untrained"), Some(Carried::Untrained));
        assert_eq!(Carried::named("/models/GLM-4.6V-Flash"), None);
    }
}
