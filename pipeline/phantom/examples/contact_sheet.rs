//! Frames of phantoms on one sheet, for human eyes: `cargo run -p phantom --example contact_sheet OUT.png [SEED]`.
//!
//! Columns: first frame, end diastole, end systole, the frame halfway from there to the next end diastole. Rows: each
//! view, then an A4C for each corruption.

use std::error::Error;

use dicom_object::from_reader;
use image::RgbImage;
use image::imageops::{FilterType, replace, resize};
use phantom::echo::{CorruptionKind, EchoSpec, View, generate};

const CELL: (u32, u32) = (480, 360);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: contact_sheet OUT.png [SEED]")?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let sound = EchoSpec::sample(seed);
    let views = View::ALL.map(|view| sound.clone().with_loop(view));
    let spoilt = CorruptionKind::ALL.map(|kind| sound.clone().with_loop(View::A4c).spoilt_by(kind));
    let rows: Vec<EchoSpec> = views.into_iter().chain(spoilt).collect();
    let mut sheet = RgbImage::new(4 * CELL.0, rows.len() as u32 * CELL.1);
    for (row, spec) in rows.iter().enumerate() {
        let study = generate(spec)?;
        let cine = &study.truth.cine;
        let pick = |frames: &[usize]| frames.first().map_or(0, |frame| frame - 1);
        let (ed, es) = (pick(&cine.ed_frames), pick(&cine.es_frames));
        let filling = (es + cine.frames / 10).min(cine.frames - 1);
        let object = from_reader(study.instances[0].file_bytes.as_slice())?;
        let pixels = object.element(dicom_dictionary_std::tags::PIXEL_DATA)?;
        let fragments = pixels.value().fragments().ok_or("expected encapsulated pixels")?;
        for (column, frame) in [0, ed, es, filling].into_iter().enumerate() {
            let picture = image::load_from_memory(&fragments[frame])?.to_rgb8();
            let small = resize(&picture, CELL.0, CELL.1, FilterType::Triangle);
            replace(&mut sheet, &small, column as i64 * i64::from(CELL.0), row as i64 * i64::from(CELL.1));
        }
    }
    sheet.save(out)?;
    Ok(())
}
