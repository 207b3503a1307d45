//! The gate's word on clips: a line for each check that does not pass, with `--all` for every one, and what it cost. A
//! clip is a file of binary PGM pictures one after the other (Netpbm), each a frame; `--fps` says how fast.
//!
//! ```sh
//! cargo run -p quality-gate --example gate -- [--all] [--fps 30] FILE.pgm...
//! ```

use std::{error::Error, io::Write as _, time::Instant};

use quality_gate::QualityGate;
use schemas::{
    AcquiredInstance, Area, BlobRef, CheckVerdict, Completion, CompletionRule, Domain, FrameNumber,
    InstanceUid, Priority, Protocol, ReceivedFrom, Revision, SeriesUid, StudyAcquired, StudyHead, StudyUid,
    Timing, TimingSource, Uid,
};
use stage::{
    ClipHeader, Frame, Image, MaskSource, Outcome, Services, Stage as _,
    testing::{MemoryBlobs, MemoryFrames, ctx},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let all = files.iter().position(|word| word == "--all").map(|at| files.remove(at)).is_some();
    let fps = match files.iter().position(|word| word == "--fps") {
        Some(at) => files.drain(at..(at + 2).min(files.len())).next_back().unwrap_or_default().parse()?,
        None => 30.0,
    };
    let defaults: toml::Table = toml::from_str(include_str!("../../../config/default.toml"))?;
    let config = defaults["stages"]["quality_gate"].clone().try_into()?;
    let mut gate = QualityGate::build(config, &Services::without_model())?;
    let mut out = std::io::stdout().lock();
    for file in &files {
        let frames = frames(&std::fs::read(file)?).ok_or("not a row of P5 pictures")?;
        let blob = BlobRef::of(Area::Raw, file.as_bytes());
        let mut memory = MemoryFrames::default();
        let header = header(&frames, fps);
        let study = study(&blob, header.frames)?;
        memory.insert(blob, header, frames);
        let blobs = MemoryBlobs::default();
        let start = Instant::now();
        let outcome = gate.process(&study, &mut ctx(&blobs, &memory))?;
        let cost = start.elapsed();
        let instances = match outcome {
            Outcome::Emit(accepted) => accepted.instances,
            Outcome::Reject(rejection) => rejection.instances,
        };
        for instance in instances {
            writeln!(out, "{file}: {:?} in {:.1} ms", instance.verdict, cost.as_secs_f64() * 1e3)?;
            for check in instance.checks.iter().filter(|check| all || check.verdict != CheckVerdict::Pass) {
                let code = check.code.as_ref().map_or("", |code| code.as_str());
                let value = check.value.map_or("-".to_owned(), |value| format!("{value:.3}"));
                writeln!(out, "   {:?} {} {value} ({}) {code}", check.verdict, check.name, check.threshold)?;
            }
        }
    }
    Ok(())
}

fn frames(mut bytes: &[u8]) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (magic, after) = word(bytes)?;
        let (width, after) = word(after)?;
        let (height, after) = word(after)?;
        let (_, after) = word(after)?;
        let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
        let (samples, after) = after.split_at_checked((width * height) as usize)?;
        bytes = (magic == "P5").then_some(after)?;
        let rgb = samples.iter().flat_map(|sample| [*sample; 3]).collect();
        let number = FrameNumber::from_index(frames.len() as u32);
        frames.push(Frame { number, image: Image { width, height, rgb } });
    }
    Some(frames)
}

/// The text before the next white space, and what comes after it.
fn word(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(u8::is_ascii_whitespace)?;
    Some((std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?))
}

fn header(frames: &[Frame], fps: f64) -> ClipHeader {
    let (columns, rows) = frames.first().map_or((0, 0), |frame| (frame.image.width, frame.image.height));
    ClipHeader {
        columns,
        rows,
        frames: frames.len() as u32,
        timing: Timing { source: TimingSource::FrameTime, fps: Some(fps) },
        frame_times_ms: (0..frames.len()).map(|index| index as f64 * 1000.0 / fps).collect(),
        view: None,
        heart_rate: None,
        r_waves_ms: Vec::new(),
        mm_per_pixel: None,
        b_mode: true,
        doppler: false,
        mask: MaskSource::Fan,
        visible: [0, 0, columns, rows],
        bright_outside: 0.0,
        synthetic: true,
        warnings: Vec::new(),
    }
}

fn study(blob: &BlobRef, frames: u32) -> Result<StudyAcquired, Box<dyn Error>> {
    Ok(StudyAcquired {
        study: StudyHead {
            study_uid: StudyUid::new("2.25.1")?,
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Echo,
            synthetic: true,
        },
        completion: Completion { rule: CompletionRule::Forced, closed_at: jiff::Timestamp::UNIX_EPOCH },
        received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
        instances: vec![AcquiredInstance {
            series_uid: SeriesUid::new("2.25.1.1")?,
            instance_uid: InstanceUid::new("2.25.1.1.1")?,
            sop_class_uid: Uid::new("1.2.840.10008.5.1.4.1.1.3.1")?,
            transfer_syntax_uid: None,
            frames,
            blob: blob.clone(),
            not_analysable: None,
        }],
    })
}
