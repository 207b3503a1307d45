//! The fuzzer's corpus, replayed: what was found once must stay mended.

use std::path::Path;

#[path = "../../fuzz/entry.rs"]
mod entry;

/// Runs every file of a target's corpus through the target's entry.
fn replay(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).expect("corpus is committed") {
        entry(&std::fs::read(file.expect("readable").path()).expect("readable"));
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} files in the corpus of {target}");
}

#[test]
fn prescan_corpus() {
    replay("prescan", entry::prescan);
}

#[test]
fn fragments_corpus() {
    replay("fragments", entry::fragments);
}

#[test]
fn codestream_corpus() {
    replay("codestream", entry::codestream);
}
