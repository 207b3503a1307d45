//! Frames of phantoms on one sheet, for human eyes: `cargo run -p phantom --example contact_sheet OUT.png [SEED]`.
//!
//! Columns: A4C at end diastole, A4C at end systole, A2C at end diastole. Rows: a sound study, then each corruption.

use std::error::Error;

use dicom_object::from_reader;
use image::RgbImage;
use image::imageops::{FilterType, replace, resize};
use phantom::echo::{Corruption, CorruptionKind, EchoSpec, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: contact_sheet OUT.png [SEED]")?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let kinds = std::iter::once(None).chain(CorruptionKind::ALL.map(Some));
    let mut sheet = RgbImage::new(3 * 480, 10 * 360);
    for (row, kind) in kinds.enumerate() {
        let corruption = kind.map(|kind| Corruption::new(kind, 1.0)).transpose()?;
        let study = generate(&EchoSpec { corruption, ..EchoSpec::sample(seed) })?;
        let [a4c, a2c] = study.truth.cines.as_slice() else { return Err("expected two cines".into()) };
        let pick = |frames: &[usize]| frames.first().map_or(0, |frame| frame - 1);
        let cells = [(0, pick(&a4c.ed_frames)), (0, pick(&a4c.es_frames)), (1, pick(&a2c.ed_frames))];
        for (column, (instance, frame)) in cells.into_iter().enumerate() {
            let object = from_reader(study.instances[instance].file_bytes.as_slice())?;
            let pixels = object.element(dicom_dictionary_std::tags::PIXEL_DATA)?;
            let fragments = pixels.value().fragments().ok_or("expected encapsulated pixels")?;
            let picture = image::load_from_memory(&fragments[frame])?.to_rgb8();
            let small = resize(&picture, 480, 360, FilterType::Triangle);
            replace(&mut sheet, &small, column as i64 * 480, row as i64 * 360);
        }
    }
    sheet.save(out)?;
    Ok(())
}
