//! What the stage reads off clips: a line of JSON for each, with the milliseconds it took. A clip is a file of binary
//! PGM pictures one after the other (Netpbm), each a frame with nothing but the fan lit.
//!
//! ```sh
//! cargo run --release -p keyframes --example trace -- FRAMES_PER_SECOND FILE.pgm...
//! ```

use std::{error::Error, fs, io::Write as _, time::Instant};

use keyframes::{Config, trace};
use schemas::{
    Area, BlobRef, FrameNumber, GatedInstance, InstanceUid, KeyframeKind, SeriesUid, Timing, TimingSource,
    Verdict, View,
};
use stage::{ClipHeader, Frame, Image, MaskSource, testing::MemoryFrames};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let fps: f64 = arguments.next().ok_or("first the frames per second, then files")?.parse()?;
    let defaults: toml::Table = fs::read_to_string("config/default.toml")?.parse()?;
    let config: Config = defaults["stages"]["keyframes"].clone().try_into()?;
    let mut out = std::io::stdout().lock();
    for path in arguments {
        let (instance, frames) = clip(&path, fps)?;
        let start = Instant::now();
        let read = trace(&instance, &frames, &config)?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let line = match read {
            Err(code) => serde_json::json!({ "file": path, "ms": ms, "code": code.as_str() }),
            Ok(trace) => {
                let times = |kind: KeyframeKind| -> Vec<f64> {
                    trace
                        .marks
                        .iter()
                        .filter(|mark| mark.kind == kind)
                        .filter_map(|mark| mark.time_ms)
                        .collect()
                };
                serde_json::json!({
                    "file": path,
                    "ms": ms,
                    "frames": trace.area.len(),
                    "end_diastoles_ms": times(KeyframeKind::ED),
                    "end_systoles_ms": times(KeyframeKind::ES),
                    "period_ms": trace.period_ms,
                    "ef_percent": trace.geometry.map(|geometry| geometry.ef_percent),
                    "beats": trace.beats_measured,
                    "flags": trace.flags,
                })
            }
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn clip(path: &str, fps: f64) -> Result<(GatedInstance, MemoryFrames), Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let image = picture(&mut rest).ok_or("not a file of binary PGM pictures")?;
        frames.push(Frame { number: FrameNumber::from_index(frames.len() as u32), image });
    }
    let first = &frames.first().ok_or("no picture")?.image;
    let timing = Timing { source: TimingSource::FrameTime, fps: Some(fps) };
    let header = ClipHeader {
        columns: first.width,
        rows: first.height,
        frames: frames.len() as u32,
        timing,
        frame_times_ms: (0..frames.len()).map(|index| index as f64 * 1e3 / fps).collect(),
        view: Some(View::A4C),
        heart_rate: None,
        r_waves_ms: Vec::new(),
        mm_per_pixel: None,
        b_mode: true,
        doppler: false,
        mask: MaskSource::Fan,
        visible: [0, 0, first.width, first.height],
        bright_outside: 0.0,
        synthetic: true,
        warnings: Vec::new(),
    };
    let instance = GatedInstance {
        series_uid: SeriesUid::new("2.25.1")?,
        instance_uid: InstanceUid::new("2.25.2")?,
        blob: BlobRef::of(Area::Raw, path.as_bytes()),
        frames: header.frames,
        applicable: true,
        verdict: Verdict::Accept,
        code: None,
        view: header.view,
        timing: Some(timing),
        checks: Vec::new(),
    };
    let mut held = MemoryFrames::default();
    held.insert(instance.blob.clone(), header, frames);
    Ok((instance, held))
}

/// The picture at the start of `rest`, which then begins after it.
fn picture(rest: &mut &[u8]) -> Option<Image> {
    let mut word = || {
        let at = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let end = at + rest.get(at..)?.iter().position(u8::is_ascii_whitespace)?;
        let word = std::str::from_utf8(rest.get(at..end)?).ok()?.to_owned();
        // One byte of white space ends a word.
        *rest = rest.get(end + 1..)?;
        Some(word)
    };
    if word()? != "P5" {
        return None;
    }
    let (width, height) = (word()?.parse::<u32>().ok()?, word()?.parse::<u32>().ok()?);
    if word()? != "255" {
        return None;
    }
    let (samples, after) = rest.split_at_checked(width as usize * height as usize)?;
    *rest = after;
    Some(Image { width, height, rgb: samples.iter().flat_map(|level| [*level; 3]).collect() })
}
