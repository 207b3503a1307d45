//! Decodes one frame and writes it as raw 8-bit RGB, row by row, to standard output, after a line
//! `<width> <height> <frames>`. With `--masked`, what leaves the decode worker; with `--header`, the header only; with `--all`,
//! decodes and masks every frame and writes milliseconds a frame instead of pixels.
//!
//! ```sh
//! cargo run -p pixels --example decode -- FILE [FRAME INDEX FROM 0] [--masked | --header | --all]
//! ```

use std::{
    error::Error,
    fs::File,
    io::{Write as _, stdout},
    process::ExitCode,
    time::Instant,
};

use pixels::Clip;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                line = format!("{line}: {inner}");
                cause = inner.source();
            }
            let code = error.downcast_ref::<pixels::DecodeError>().map_or("", pixels::DecodeError::code);
            // Nobody is left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "{code} {line}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut values = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let path = values.next().ok_or("name a DICOM, PNG, JPEG or TIFF file")?;
    let index = values.next().map_or(Ok(0), |text| text.parse())?;
    let mut clip = Clip::open(File::open(path)?)?;
    let mut out = stdout().lock();
    if has("--header") {
        let mask = clip.mask()?;
        writeln!(out, "{:#?}", clip.clip_header(&mask))?;
        return Ok(());
    }
    let frames = clip.frames();
    if has("--all") {
        let mask = clip.mask()?;
        let begun = Instant::now();
        for index in 0..frames {
            clip.masked_frame(index, &mask)?;
        }
        let ms = begun.elapsed().as_secs_f64() * 1000.0 / f64::from(frames);
        writeln!(out, "{frames} frames, {ms:.2} ms each")?;
        return Ok(());
    }
    let frame = if has("--masked") {
        let mask = clip.mask()?;
        clip.masked_frame(index, &mask)?.frame().clone()
    } else {
        clip.frame(index)?
    };
    writeln!(out, "{} {} {frames}", frame.width, frame.height)?;
    out.write_all(&frame.into_rgb())?;
    Ok(())
}
