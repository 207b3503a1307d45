//! Writes the JSON Schema of a calibration set to standard output, for `set.schema.json`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let schema = schemars::schema_for!(calibration::set::File);
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema)?;
    writeln!(out)
}
