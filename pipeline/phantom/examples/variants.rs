//! One short study for everything that changes a header, for DICOM validators:
//! `cargo run -p phantom --example variants DIR`.
//!
//! Each view, corruption and encoding, a machine that sends as little as it may, and an exam with every kind of content.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use phantom::echo::{Content, CorruptionKind, Doppler, EchoSpec, Encoding, Omission, View, write_studies};

fn main() -> Result<(), Box<dyn Error>> {
    let out: PathBuf = std::env::args().nth(1).ok_or("usage: variants DIR")?.into();
    // A third of a beat: the shortest clip, and no R wave or end of ejection in some of them.
    let mut short = EchoSpec::sample(7);
    short.machine.beats = 0.3;
    short.machine.frame_rate = 15.0;
    let mut specs: Vec<EchoSpec> = View::ALL.map(|view| short.clone().with_loop(view)).into();
    specs.extend(
        CorruptionKind::ALL
            .into_iter()
            .filter(|kind| *kind != CorruptionKind::LowFps)
            .map(|kind| short.clone().with_loop(View::A4c).spoilt_by(kind)),
    );
    specs.push(EchoSpec { encoding: Encoding::Native, ..short.clone() });
    specs.push(EchoSpec {
        omissions: vec![Omission::View, Omission::RWaves, Omission::HeartRate, Omission::Ecg],
        ..short.clone()
    });
    let contents = vec![
        Content::Worksheet,
        Content::ColourLoop(View::Plax),
        Content::Spectrum(Doppler::Pulsed),
        Content::Loop(View::A4c),
        Content::Spectrum(Doppler::Continuous),
        Content::MMode,
        Content::Still(View::Psax),
    ];
    specs.push(EchoSpec { contents, ..short });
    let truths = write_studies(&out, specs)?;
    let frames: usize = truths.studies.iter().flat_map(|study| &study.cines).map(|cine| cine.frames).sum();
    writeln!(std::io::stdout(), "{} studies, {frames} frames", truths.studies.len())?;
    Ok(())
}
