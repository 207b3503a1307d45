//! Writes `topics/<topic>/schema.json` from the message types: `cargo run -p schemas --example write_schemas`.
//!
//! The contract test fails until the written files are reviewed and committed.

use std::{fs, path::Path};

use schemas::{
    FindingsInferred, KeyframesExtracted, Message, ReportIssued, ReviewRecorded, StudyAccepted,
    StudyAcquired, StudyRejected,
};

fn write<M: Message>() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topics").join(M::TOPIC.name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("schema.json"), schemas::json_schema::<M>())
}

fn main() -> std::io::Result<()> {
    write::<StudyAcquired>()?;
    write::<StudyAccepted>()?;
    write::<StudyRejected>()?;
    write::<KeyframesExtracted>()?;
    write::<FindingsInferred>()?;
    write::<ReportIssued>()?;
    write::<ReviewRecorded>()
}
