//! The model inside the binary: a random-weight checkpoint of the real architecture, so that a fresh machine runs the
//! whole system without a download. It is marked untrained, and every report made with it abstains.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

macro_rules! checkpoint_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../stages/inference/glm46v/checkpoints/untrained/", $name)).as_slice())),*]
    };
}

const FILES: [(&str, &[u8]); 7] = checkpoint_files![
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Writes the checkpoint below `data_dir`, unless it is there whole, and gives its folder.
pub(crate) fn unpack(data_dir: &Path) -> io::Result<PathBuf> {
    let folder = data_dir.join("model").join("glm4v-untrained");
    fs::create_dir_all(&folder)?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|found| found == bytes) {
            continue;
        }
        let partial = folder.join(format!("{name}.partial"));
        fs::write(&partial, bytes)?;
        fs::rename(&partial, &path)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_damaged_or_cut_short_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let model = super::unpack(folder.path()).expect("unpacked");
        let config = std::fs::read(model.join("config.json")).expect("a file");
        std::fs::write(model.join("config.json"), &config[..10]).expect("damaged");
        super::unpack(folder.path()).expect("unpacked again");
        assert_eq!(std::fs::read(model.join("config.json")).expect("a file"), config);
    }
}
