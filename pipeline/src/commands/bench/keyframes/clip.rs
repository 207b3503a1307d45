//! One phantom loop as the stage sees it: decoded, masked, behind `Frames`.

use std::io::Cursor;

use phantom::echo::{EchoSpec, Truth, generate};
use schemas::{Area, BlobRef, FrameNumber, GatedInstance, InstanceUid, SeriesUid, Verdict};
use stage::{Frame, testing::MemoryFrames};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What the header tells the stage about R waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hints {
    /// Everything the machine wrote.
    All,
    /// The electrocardiogram drawn in the picture; no R waves in the header.
    Drawn,
    /// No R waves, no heart rate, no electrocardiogram: the picture alone.
    None,
}

/// One loop and its truth.
pub(crate) struct Clip {
    pub(crate) truth: Truth,
    pub(crate) instance: GatedInstance,
    pub(crate) frames: MemoryFrames,
}

impl Clip {
    /// Makes, decodes and masks the first instance that `spec` describes.
    pub(crate) fn make(spec: &EchoSpec, hints: Hints) -> Result<Self, Failed> {
        let study = generate(spec)?;
        let file = study.instances.first().ok_or("the phantom has no instance")?;
        let mut clip = pixels::Clip::open(Cursor::new(&file.file_bytes))?;
        let mask = clip.mask()?;
        let mut header = clip.clip_header(&mask);
        let mut decoded = Vec::new();
        for index in 0..header.frames {
            let image = clip.masked_frame(index, &mask)?.into_image();
            decoded.push(Frame { number: FrameNumber::from_index(index), image });
        }
        let blob = BlobRef::of(Area::Raw, &file.file_bytes);
        let mut frames = MemoryFrames::default();
        if hints != Hints::All {
            header.r_waves_ms.clear();
            header.heart_rate = None;
        }
        if hints != Hints::None
            && let Some(strip) = clip.ecg(0)?
        {
            frames.insert_ecg(blob.clone(), strip);
        }
        let instance = GatedInstance {
            series_uid: SeriesUid::new("2.25.1")?,
            instance_uid: InstanceUid::new(&file.sop_instance_uid)?,
            blob: blob.clone(),
            frames: header.frames,
            applicable: true,
            verdict: Verdict::Accept,
            code: None,
            view: header.view,
            timing: Some(header.timing),
            checks: Vec::new(),
        };
        frames.insert(blob, header, decoded);
        Ok(Self { truth: study.truth, instance, frames })
    }
}
