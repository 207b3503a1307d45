//! The cine that both sides work on: a phantom's loop enlarged to the 800 by 600 pixels that machines send, as a DICOM
//! object of its own.

use std::io::Cursor;

use image::{RgbImage, imageops};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use phantom::echo::{EchoSpec, EchoStudy, View, generate};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Frames of the loop.
pub(crate) const FRAMES: u32 = 60;
pub(crate) const COLUMNS: u32 = 800;
pub(crate) const ROWS: u32 = 600;

const FRAME_RATE: f64 = 30.0;
const HEART_RATE: f64 = 75.0;
const JPEG_QUALITY: u8 = 85;

/// The object as a Part 10 file.
pub(crate) struct Cine {
    /// Of the study that it is the only instance of.
    study: EchoStudy,
    /// What stands before the frames.
    header: Vec<u8>,
    /// One JPEG for each frame.
    jpegs: Vec<Vec<u8>>,
}

impl Cine {
    /// Draws it.
    pub(crate) fn draw(seed: u64) -> Result<Self, Failed> {
        let mut spec = EchoSpec::sample(seed).with_loop(View::A4c);
        spec.machine.frame_rate = FRAME_RATE;
        spec.heart.heart_rate = HEART_RATE;
        // One frame more than is used, however the count is rounded.
        spec.machine.beats = f64::from(FRAMES + 1) / FRAME_RATE * HEART_RATE / 60.0;
        let study = generate(&spec)?;
        let file = study.instances.first().ok_or("the phantom has no instance")?;
        let mut clip = pixels::Clip::open(Cursor::new(&file.file_bytes))?;
        let mask = clip.mask()?;
        let told = clip.clip_header(&mask);
        let region = clip
            .header()
            .and_then(|header| header.regions.iter().find(|region| region.is_tissue())?.rect)
            .ok_or("the phantom declares no region")?;
        let scale = f64::from(COLUMNS) / f64::from(told.columns);
        let scaled = |at: u32| (f64::from(at) * scale).round() as u32;
        let [_, mm_per_pixel] = told.mm_per_pixel.ok_or("the phantom has no scale")?;
        let header = attributes(&Attributes {
            sop_class_uid: file.sop_class_uid,
            sop_instance_uid: &file.sop_instance_uid,
            study_uid: &study.study_uid,
            transfer_syntax_uid: file.transfer_syntax_uid,
            region: [scaled(region.x0), scaled(region.y0), scaled(region.x1) - 1, scaled(region.y1) - 1],
            cm_per_pixel: mm_per_pixel / scale / 10.0,
        });
        let jpegs = (0..FRAMES).map(|index| enlarged_jpeg(&clip.frame(index)?));
        let jpegs = jpegs.collect::<Result<_, _>>()?;
        Ok(Self { study, header, jpegs })
    }

    /// The loop, so many times over.
    pub(crate) fn file(&self, repeats: u32) -> Vec<u8> {
        let frames = (FRAMES * repeats).to_string();
        let mut file = self.header.clone();
        element(&mut file, [0x0028, 0x0008], *b"IS", frames.as_bytes());
        element(&mut file, [0x0028, 0x0009], *b"AT", &[0x18, 0x00, 0x63, 0x10]);
        let shape: [([u16; 2], u32); 6] = [
            ([0x0028, 0x0010], ROWS),
            ([0x0028, 0x0011], COLUMNS),
            ([0x0028, 0x0100], 8),
            ([0x0028, 0x0101], 8),
            ([0x0028, 0x0102], 7),
            ([0x0028, 0x0103], 0),
        ];
        for (tag, value) in shape {
            element(&mut file, tag, *b"US", &short(value));
        }
        element(&mut file, [0x0099, 0x0010], *b"LO", phantom::echo::PRIVATE_CREATOR.as_bytes());
        element(&mut file, [0x0099, 0x1001], *b"CS", b"YES");
        // Encapsulated: an item of no offsets, an item for each frame, a delimiter (PS3.5 A.4).
        file.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        item(&mut file, &[]);
        for _ in 0..repeats {
            self.jpegs.iter().for_each(|jpeg| item(&mut file, jpeg));
        }
        file.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        file
    }

    /// A study of that one file.
    pub(crate) fn study(&self) -> EchoStudy {
        let mut study = self.study.clone();
        study.instances.iter_mut().for_each(|instance| instance.file_bytes = self.file(1));
        study
    }
}

fn enlarged_jpeg(frame: &pixels::Frame) -> Result<Vec<u8>, Failed> {
    let (width, height) = (frame.width, frame.height);
    let picture = RgbImage::from_raw(width, height, frame.clone().into_rgb());
    let picture = picture.ok_or("a frame has other than three bytes a pixel")?;
    let picture = imageops::resize(&picture, COLUMNS, ROWS, imageops::FilterType::CatmullRom);
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.encode(&picture, COLUMNS as u16, ROWS as u16, ColorType::Rgb)?;
    Ok(jpeg)
}

struct Attributes<'a> {
    sop_class_uid: &'a str,
    sop_instance_uid: &'a str,
    study_uid: &'a str,
    transfer_syntax_uid: &'a str,
    /// First and last column and row of the sector: left, top, right, bottom.
    region: [u32; 4],
    cm_per_pixel: f64,
}

/// Everything up to the number of frames, in explicit VR little endian.
fn attributes(of: &Attributes<'_>) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, [0x0002, 0x0001], *b"OB", &[0, 1]);
    element(&mut meta, [0x0002, 0x0002], *b"UI", of.sop_class_uid.as_bytes());
    element(&mut meta, [0x0002, 0x0003], *b"UI", of.sop_instance_uid.as_bytes());
    element(&mut meta, [0x0002, 0x0010], *b"UI", of.transfer_syntax_uid.as_bytes());
    let mut region = Vec::new();
    let codes = |region: &mut Vec<u8>, tags: [u16; 2], code: u32| {
        for tag in tags {
            element(region, [0x0018, tag], *b"US", &short(code));
        }
    };
    // 2-D tissue, in centimetres (PS3.3 C.8.5.5).
    codes(&mut region, [0x6012, 0x6014], 1);
    element(&mut region, [0x0018, 0x6016], *b"UL", &[0; 4]);
    for (tag, at) in [0x6018, 0x601A, 0x601C, 0x601E].into_iter().zip(of.region) {
        element(&mut region, [0x0018, tag], *b"UL", &at.to_le_bytes());
    }
    codes(&mut region, [0x6024, 0x6026], 3);
    for tag in [0x602C, 0x602E] {
        element(&mut region, [0x0018, tag], *b"FD", &of.cm_per_pixel.to_le_bytes());
    }
    let mut regions = Vec::new();
    item(&mut regions, &region);

    let mut file = vec![0; 128];
    file.extend(b"DICM");
    element(&mut file, [0x0002, 0x0000], *b"UL", &(meta.len() as u32).to_le_bytes());
    file.append(&mut meta);
    element(&mut file, [0x0008, 0x0016], *b"UI", of.sop_class_uid.as_bytes());
    element(&mut file, [0x0008, 0x0018], *b"UI", of.sop_instance_uid.as_bytes());
    element(&mut file, [0x0008, 0x0060], *b"CS", b"US");
    element(&mut file, [0x0018, 0x1063], *b"DS", format!("{:.3}", 1000.0 / FRAME_RATE).as_bytes());
    element(&mut file, [0x0018, 0x6011], *b"SQ", &regions);
    element(&mut file, [0x0020, 0x000D], *b"UI", of.study_uid.as_bytes());
    element(&mut file, [0x0020, 0x000E], *b"UI", of.study_uid.as_bytes());
    element(&mut file, [0x0028, 0x0002], *b"US", &short(3));
    element(&mut file, [0x0028, 0x0004], *b"CS", b"YBR_FULL_422");
    element(&mut file, [0x0028, 0x0006], *b"US", &short(0));
    file
}

/// The two bytes of a number that fits into them.
fn short(value: u32) -> [u8; 2] {
    let [low, high, ..] = value.to_le_bytes();
    [low, high]
}

/// An element with its length, padded to an even one (PS3.5 7.1).
fn element(file: &mut Vec<u8>, [group, number]: [u16; 2], vr: [u8; 2], value: &[u8]) {
    let length = value.len().next_multiple_of(2);
    file.extend(group.to_le_bytes());
    file.extend(number.to_le_bytes());
    file.extend(vr);
    if matches!(&vr, b"OB" | b"SQ") {
        file.extend([0, 0]);
        file.extend((length as u32).to_le_bytes());
    } else {
        file.extend((length as u16).to_le_bytes());
    }
    file.extend(value);
    if value.len() < length {
        file.push(if matches!(&vr, b"UI" | b"OB") { 0 } else { b' ' });
    }
}

/// An item of a sequence or of encapsulated pixel data.
fn item(file: &mut Vec<u8>, value: &[u8]) {
    file.extend([0xFE, 0xFF, 0x00, 0xE0]);
    file.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
    file.extend(value);
    if value.len() % 2 == 1 {
        file.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_decodes_to_every_frame_at_its_size_with_the_calibration_of_its_region() -> Result<(), Failed>
    {
        let cine = Cine::draw(1)?;
        let mut clip = pixels::Clip::open(Cursor::new(cine.file(2)))?;
        assert_eq!(clip.frames(), 2 * FRAMES);
        let mask = clip.mask()?;
        let header = clip.clip_header(&mask);
        assert_eq!(
            (header.columns, header.rows, header.mask),
            (COLUMNS, ROWS, pixels::MaskSource::DicomRegion)
        );
        assert_eq!(header.timing.fps.map(f64::round), Some(FRAME_RATE));
        let [across, down] = header.mm_per_pixel.ok_or("no scale")?;
        assert!(across == down && (0.1..0.5).contains(&down), "{down} mm a pixel");
        assert!(header.synthetic, "a phantom says so");
        let (first, again) = (clip.frame(0)?, clip.frame(FRAMES)?);
        assert_eq!(first.into_rgb(), again.into_rgb());
        Ok(())
    }
}
