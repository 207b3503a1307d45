//! Fields on one sheet, for human eyes: `cargo run -p phantom --example pathology_sheet OUT.png [SEED]`.
//!
//! First row: sound fields of consecutive seeds. Then each corruption at its plain severity.

use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

use image::RgbImage;
use image::imageops::replace;
use phantom::pathology::{Corruption, CorruptionKind, Field, FieldSpec};

const ACROSS: usize = 4;
const SIDE: u32 = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: pathology_sheet OUT.png [SEED]")?;
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let sound = (0..ACROSS as u64).map(|next| FieldSpec::sample(seed + next));
    let spoilt = CorruptionKind::ALL
        .map(|kind| FieldSpec { corruption: Some(Corruption::plain(kind)), ..FieldSpec::sample(seed) });
    let specs: Vec<FieldSpec> = sound.chain(spoilt).collect();
    let down = specs.len().div_ceil(ACROSS) as u32;
    let mut sheet = RgbImage::new(ACROSS as u32 * SIDE, down * SIDE);
    let start = Instant::now();
    for (index, spec) in specs.iter().enumerate() {
        let field = Field::draw(spec)?;
        let picture = RgbImage::from_raw(SIDE, SIDE, field.rgb).ok_or("expected 512 x 512 pixels")?;
        let (column, row) = ((index % ACROSS) as i64, (index / ACROSS) as i64);
        replace(&mut sheet, &picture, column * i64::from(SIDE), row * i64::from(SIDE));
    }
    let each = start.elapsed() / specs.len() as u32;
    writeln!(std::io::stdout(), "{} fields, {:.1} ms each", specs.len(), each.as_secs_f64() * 1000.0)?;
    sheet.save(out)?;
    Ok(())
}
