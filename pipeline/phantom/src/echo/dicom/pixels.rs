//! Pixel data and the attributes that describe them.

use dicom_core::value::{PixelFragmentSequence, PrimitiveValue};
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};

use super::DataSet;
use crate::echo::EchoError;
use crate::echo::overlay::Screen;
use crate::echo::scan::{HEIGHT, WIDTH};
use crate::echo::spec::Encoding;

/// About 45 KB a frame of speckle.
const JPEG_QUALITY: u8 = 85;

/// The pixels of an instance, gathered frame by frame.
pub(crate) struct Pixels {
    encoding: Encoding,
    quality: u8,
    frames: usize,
    native: Vec<u8>,
    fragments: Vec<Vec<u8>>,
}

impl Pixels {
    /// `quality` of JPEG, 1..=100, where it is not the usual one.
    pub(crate) fn new(encoding: Encoding, quality: Option<u8>) -> Self {
        let quality = quality.unwrap_or(JPEG_QUALITY);
        Self { encoding, quality, frames: 0, native: Vec::new(), fragments: Vec::new() }
    }

    pub(crate) fn push(&mut self, screen: &Screen) -> Result<(), EchoError> {
        self.frames += 1;
        match self.encoding {
            Encoding::Native => self.native.extend_from_slice(&screen.rgb),
            Encoding::Jpeg => {
                let mut fragment = Vec::new();
                let mut encoder = jpeg_encoder::Encoder::new(&mut fragment, self.quality);
                encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
                encoder
                    .encode(&screen.rgb, WIDTH as u16, HEIGHT as u16, jpeg_encoder::ColorType::Rgb)
                    .map_err(EchoError::Jpeg)?;
                // A fragment has even length (PS3.5 A.4).
                if fragment.len() % 2 == 1 {
                    fragment.push(0);
                }
                self.fragments.push(fragment);
            }
        }
        Ok(())
    }

    /// (transfer syntax UID, photometric interpretation)
    pub(super) fn form(&self) -> (&'static str, &'static str) {
        match self.encoding {
            Encoding::Native => (uids::EXPLICIT_VR_LITTLE_ENDIAN, "RGB"),
            Encoding::Jpeg => (uids::JPEG_BASELINE8_BIT, "YBR_FULL_422"),
        }
    }

    pub(super) fn describe(self, data: &mut DataSet) {
        let (_, photometric) = self.form();
        data.number(tags::SAMPLES_PER_PIXEL, VR::US, 3_u16);
        data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
        data.number(tags::PLANAR_CONFIGURATION, VR::US, 0_u16);
        data.number(tags::ROWS, VR::US, HEIGHT as u16);
        data.number(tags::COLUMNS, VR::US, WIDTH as u16);
        data.number(tags::BITS_ALLOCATED, VR::US, 8_u16);
        data.number(tags::BITS_STORED, VR::US, 8_u16);
        data.number(tags::HIGH_BIT, VR::US, 7_u16);
        data.number(tags::PIXEL_REPRESENTATION, VR::US, 0_u16);
        data.text(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
        match self.encoding {
            Encoding::Native => {
                data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
                data.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(self.native)));
            }
            Encoding::Jpeg => {
                let raw = (self.frames * WIDTH * HEIGHT * 3) as f64;
                let stored = self.fragments.iter().map(Vec::len).sum::<usize>().max(1) as f64;
                data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
                data.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &format!("{:.3}", raw / stored));
                data.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_10918_1");
                // Offsets count from the first fragment's item tag; an item's header has 8 bytes.
                let offsets: Vec<u32> = self
                    .fragments
                    .iter()
                    .scan(0_u32, |next, fragment| {
                        let offset = *next;
                        *next += fragment.len() as u32 + 8;
                        Some(offset)
                    })
                    .collect();
                let sequence = PixelFragmentSequence::new(offsets, self.fragments);
                data.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
            }
        }
    }
}
