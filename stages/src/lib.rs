//! The catalogue: every stage, one line each, in the order of the data's way.

use stage::Visitor;

/// Shows `visitor` every stage.
pub fn visit(visitor: &mut impl Visitor) {
    visitor.stage::<quality_gate::QualityGate>();
    visitor.stage::<keyframes::Keyframes>();
    visitor.stage::<inference::InferenceStage>();
    visitor.stage::<reporting::ReportingStage>();
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use schemas::Message as _;
    use stage::Stage;

    use super::*;

    /// Folders of `stages/` that hold no stage: what stages are made of.
    const NO_STAGE: [&str; 7] = ["chambers", "core", "pixels", "raster", "slide", "src", "stain"];

    #[derive(Default)]
    struct Listed {
        folders: BTreeSet<String>,
        /// Topic in, topic out, in catalogue order.
        ways: Vec<[&'static str; 2]>,
    }

    impl Visitor for Listed {
        fn stage<S: Stage>(&mut self) {
            assert!(self.folders.insert(S::NAME.replace('_', "-")), "stage {} is listed twice", S::NAME);
            self.ways.push([S::In::TOPIC.name, S::Out::TOPIC.name]);
        }
    }

    fn listed() -> Listed {
        let mut listed = Listed::default();
        visit(&mut listed);
        listed
    }

    #[test]
    fn every_folder_with_a_crate_is_in_the_catalogue_under_its_name() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders: BTreeSet<String> = fs::read_dir(here)
            .expect("stages/ can be listed")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.join("Cargo.toml").is_file())
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .filter(|name| !NO_STAGE.contains(&name.as_str()))
            .collect();
        assert_eq!(listed().folders, folders);
    }

    #[test]
    fn each_stage_reads_what_the_one_before_writes() {
        for pair in listed().ways.windows(2) {
            let [[_, written], [read, _]] = pair else { unreachable!("windows of two") };
            assert_eq!(written, read);
        }
    }
}
