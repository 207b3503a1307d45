//! One instance opened for reading its frames, one at a time.
//!
//! Opening walks the data set once and keeps the header and the place of each frame; a frame then costs its own bytes
//! and its own decoding. A deflated data set has no places to seek to: reaching frame i inflates what lies before it, and
//! still holds one frame in memory.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
};

use dicom_dictionary_std::tags;
use stage::{ClipHeader, EcgStrip};

use crate::{
    codec, colour,
    error::DecodeError,
    fragments::FragmentIndex,
    frame::Frame,
    header::{self, ImageHeader, Region, warning},
    input::{Inflated, Input, InputError, Plain},
    mask::{Brightest, Mask, MaskedFrame},
    not_analysable::NotAnalysable,
    prescan::{self, Piece, PrescanError, Scan},
    still,
    transfer_syntax::Encoding,
};

/// Frames looked at to find the fan: enough to light every sector, few enough to stay cheap.
const MASK_FRAMES: u32 = 8;
/// Bytes of those frames that are kept until they are asked for, so that none is decoded twice: 8 of 1024 by 768.
const KEPT_BYTES: u64 = 20 << 20;

/// An opened instance: a DICOM image or cine, or a PNG, JPEG or TIFF file.
pub struct Clip<R> {
    reader: R,
    content: Content,
    /// Frames that the mask was made from, by index, each until it is asked for.
    kept: BTreeMap<u32, Frame>,
}

enum Content {
    Dicom { header: Box<ImageHeader>, index: FragmentIndex },
    Still(Frame),
}

/// Decodes one frame, by its index from 0. The entry of a decode worker; see [`Clip`] for several frames and masks.
pub fn decode_one<R: Read + Seek>(reader: R, index: u32) -> Result<Frame, DecodeError> {
    Clip::open(reader)?.frame(index)
}

impl<R: Read + Seek> Clip<R> {
    /// Opens an instance: checks and indexes it, decodes nothing of a DICOM object.
    pub fn open(mut reader: R) -> Result<Self, DecodeError> {
        let mut lead = [0; 132];
        let mut input = Plain::at(&mut reader, 0)?;
        let mut read = 0;
        while let Some(rest) = lead.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match input.read_some(rest).map_err(failed)? {
                0 => break,
                n => read += n,
            }
        }
        let lead = lead.get(..read).unwrap_or_default();
        let content = if lead.len() == 132 && lead.ends_with(b"DICM") {
            let scan = prescan::scan_file(&mut reader)?;
            open_dicom(&mut reader, scan)?
        } else {
            let format = still::format(lead).ok_or(DecodeError::UnknownFormat)?;
            Content::Still(still::decode(&mut reader, format).map_err(DecodeError::Still)?)
        };
        Ok(Self { reader, content, kept: BTreeMap::new() })
    }

    /// Opens the DICOM object that a walk over `reader` found.
    pub(crate) fn of_scan(mut reader: R, scan: Scan) -> Result<Self, DecodeError> {
        let content = open_dicom(&mut reader, scan)?;
        Ok(Self { reader, content, kept: BTreeMap::new() })
    }

    /// The DICOM header; `None` for a picture file.
    pub fn header(&self) -> Option<&ImageHeader> {
        match &self.content {
            Content::Dicom { header, .. } => Some(header),
            Content::Still(_) => None,
        }
    }

    /// Number of frames that can be asked for.
    pub fn frames(&self) -> u32 {
        self.header().map_or(1, |header| header.frames)
    }

    /// Decodes the frame at `index` (from 0), unmasked.
    pub fn frame(&mut self, index: u32) -> Result<Frame, DecodeError> {
        let frames = self.frames();
        if index >= frames {
            return Err(DecodeError::FrameIndex { index, frames });
        }
        if let Some(frame) = self.kept.remove(&index) {
            return Ok(frame);
        }
        match &self.content {
            Content::Still(frame) => Ok(frame.clone()),
            Content::Dicom { header, index: fragments } => decode(&mut self.reader, header, fragments, index),
        }
    }

    /// Makes the mask for all frames of the instance, from up to 8 of them evenly spaced.
    pub fn mask(&mut self) -> Result<Mask, DecodeError> {
        let (header, fragments) = match &self.content {
            Content::Still(frame) => return Ok(Mask::of_still(frame)?),
            Content::Dicom { header, index } => (header, index),
        };
        if header.object.modality.as_deref() == Some("SM") {
            return Ok(Mask::whole(u32::from(header.columns), u32::from(header.rows)));
        }
        let looked_at = header.frames.min(MASK_FRAMES);
        let bytes = 3 * u64::from(header.columns) * u64::from(header.rows) * u64::from(looked_at);
        let mut brightest = Brightest::default();
        for i in 0..looked_at {
            let index = (u64::from(i) * u64::from(header.frames) / u64::from(looked_at)) as u32;
            let frame = decode(&mut self.reader, header, fragments, index)?;
            brightest.add(&frame);
            if bytes <= KEPT_BYTES {
                self.kept.insert(index, frame);
            }
        }
        Ok(Mask::of_clip(header, &brightest)?)
    }

    /// Decodes the frame at `index` (from 0) and masks it.
    pub fn masked_frame(&mut self, index: u32, mask: &Mask) -> Result<MaskedFrame, DecodeError> {
        Ok(mask.apply(self.frame(index)?)?)
    }

    /// The electrocardiogram drawn on the frame at `index` (from 0), cut out of it; `None` where the header declares no such
    /// region inside the image. Of several regions the largest.
    pub fn ecg(&mut self, index: u32) -> Result<Option<EcgStrip>, DecodeError> {
        let frames = self.frames();
        if index >= frames {
            return Err(DecodeError::FrameIndex { index, frames });
        }
        let regions = self.header().into_iter().flat_map(ImageHeader::ecg_regions);
        let placed = regions.filter_map(|region| Some((region.rect?, region.seconds_per_pixel)));
        let Some((rect, seconds_per_pixel)) = placed.max_by_key(|(rect, _)| rect.area()) else {
            return Ok(None);
        };
        Ok(Some(EcgStrip { image: self.frame(index)?.cut(rect), seconds_per_pixel }))
    }

    /// What a stage may know of the clip.
    pub fn clip_header(&self, mask: &Mask) -> ClipHeader {
        let visible = mask.visible();
        let visible = [visible.x0, visible.y0, visible.width(), visible.height()];
        match &self.content {
            Content::Dicom { header, .. } => dicom_clip_header(header, mask, visible),
            Content::Still(frame) => ClipHeader {
                columns: frame.width,
                rows: frame.height,
                frames: 1,
                timing: schemas::Timing { source: schemas::TimingSource::Unknown, fps: None },
                frame_times_ms: Vec::new(),
                view: None,
                heart_rate: None,
                r_waves_ms: Vec::new(),
                mm_per_pixel: None,
                b_mode: true,
                doppler: false,
                mask: mask.source(),
                visible,
                bright_outside: mask.bright_outside(),
                synthetic: false,
                warnings: Vec::new(),
            },
        }
    }
}

fn dicom_clip_header(header: &ImageHeader, mask: &Mask, visible: [u32; 4]) -> ClipHeader {
    let tissue = header.regions.iter().filter(|region| region.is_tissue());
    let largest = tissue.max_by_key(|region| region.rect.map_or(0, header::Rect::area));
    ClipHeader {
        columns: u32::from(header.columns),
        rows: u32::from(header.rows),
        frames: header.frames,
        timing: schemas::Timing { source: header.timing.source(), fps: header.timing.fps() },
        frame_times_ms: header.timing.times_ms(header.frames),
        view: header.view,
        heart_rate: header.heart_rate,
        r_waves_ms: header.r_waves_ms.clone(),
        mm_per_pixel: largest.and_then(|region| region.mm_per_pixel.ok()),
        b_mode: header.regions.is_empty() || header.regions.iter().any(Region::is_two_dimensional_tissue),
        doppler: header.regions.iter().any(Region::is_doppler),
        mask: mask.source(),
        visible,
        bright_outside: mask.bright_outside(),
        synthetic: header.object.synthetic,
        warnings: header.warnings.clone(),
    }
}

fn open_dicom<R: Read + Seek>(reader: &mut R, mut scan: Scan) -> Result<Content, DecodeError> {
    let object = scan.header()?;
    if scan.float_pixels {
        return Err(NotAnalysable::FloatPixels.into());
    }
    let location = scan.pixels.take().ok_or(NotAnalysable::NoPixelData)?;
    if let Some(reason) = NotAnalysable::of_coding(object.transfer_syntax.coding()) {
        return Err(reason.into());
    }
    let mut header = header::read(&scan, object)?;
    let extended =
        scan.attributes.get(tags::EXTENDED_OFFSET_TABLE).map(prescan::Value::very_long).unwrap_or_default();
    let deflated = header.object.transfer_syntax.encoding() == Encoding::Deflated;
    let first_bytes = |piece: Piece| -> Result<[u8; 12], DecodeError> {
        let mut lead = [0; 12];
        // A deflated data set is never encapsulated: there is no codestream to look for.
        if !deflated {
            reader.seek(SeekFrom::Start(piece.offset))?;
            reader.read_exact(&mut lead)?;
        }
        Ok(lead)
    };
    let index = FragmentIndex::build(&header, location, &extended, first_bytes)?;
    if index.extra {
        header.warnings.push(warning::EXTRA_FRAMES);
    }
    if index.distrusted_table {
        header.warnings.push(warning::OFFSET_TABLE_INVALID);
    }
    Ok(Content::Dicom { header: Box::new(header), index })
}

/// The frame at `index`, which the instance has.
fn decode<R: Read + Seek>(
    reader: &mut R,
    header: &ImageHeader,
    fragments: &FragmentIndex,
    index: u32,
) -> Result<Frame, DecodeError> {
    let mut bytes = Vec::new();
    let mut pieces = fragments.pieces(index);
    let into_pair = fragments.bytes_into_pair(index);
    if fragments.swapped {
        for piece in &mut pieces {
            piece.offset -= into_pair;
            piece.length = (piece.length + into_pair).next_multiple_of(2);
        }
    }
    if header.object.transfer_syntax.encoding() == Encoding::Deflated {
        let mut inflated = Inflated::at(reader, header.object.data_set_offset)?;
        read_pieces(&mut inflated, &pieces, &mut bytes)?;
    } else {
        for piece in pieces {
            read_pieces(&mut Plain::at(&mut *reader, piece.offset)?, &[piece], &mut bytes)?;
        }
    }
    if fragments.swapped {
        let (pairs, _) = bytes.as_chunks_mut::<2>();
        for pair in pairs {
            pair.reverse();
        }
        bytes.drain(..into_pair as usize);
    }
    let coded = codec::decode(header, &bytes)?;
    Ok(colour::to_frame(header, coded.samples, coded.colour))
}

fn read_pieces(input: &mut impl Input, pieces: &[Piece], into: &mut Vec<u8>) -> Result<(), DecodeError> {
    for piece in pieces {
        let ahead = piece.offset.saturating_sub(input.position());
        input.skip(ahead).and_then(|()| input.append(piece.length, into)).map_err(failed)?;
    }
    Ok(())
}

fn failed(error: InputError) -> DecodeError {
    match error {
        InputError::End => std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into(),
        InputError::InflateLimit(limit) => PrescanError::InflateLimit { limit }.into(),
        InputError::Io(source) => source.into(),
    }
}
