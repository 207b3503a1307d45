//! A decode worker as a program of its own, for the tests of the pool.
//!
//! Without arguments it serves. With `MODE FOLDER TIMES` the first TIMES processes misbehave once they are ready, each
//! leaving a mark in FOLDER: `abort`, `hang` or `allocate`. `no-environment` refuses to start with any variable set.

use std::{
    io::{self, Cursor, Read},
    path::PathBuf,
    process::abort,
    thread::park,
};

use services::decode_worker::serve;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut input = io::stdin().lock();
    match arguments.as_slice() {
        [] => serve(input, io::stdout().lock())?,
        [mode] if mode == "no-environment" => {
            if !std::fs::read("/proc/self/environ")?.is_empty() {
                return Err("the environment is not empty".into());
            }
            serve(input, io::stdout().lock())?;
        }
        [mode, folder, times] => {
            // The first message passes, so that the limits are set and the pool hears that the worker is ready.
            let mut setup = vec![0; 4];
            input.read_exact(&mut setup)?;
            let length = u32::from_le_bytes([setup[0], setup[1], setup[2], setup[3]]);
            setup.resize(4 + length as usize, 0);
            input.read_exact(&mut setup[4..])?;
            let marks = (0..times.parse::<u32>()?).map(|time| PathBuf::from(folder).join(time.to_string()));
            let mode = marks.into_iter().any(|mark| std::fs::create_dir(mark).is_ok()).then(|| mode.clone());
            serve(Cursor::new(setup).chain(Misbehaving { input, mode }), io::stdout().lock())?;
        }
        _ => return Err("arguments: none, no-environment, or MODE FOLDER TIMES".into()),
    }
    Ok(())
}

struct Misbehaving<R> {
    input: R,
    mode: Option<String>,
}

impl<R: Read> Read for Misbehaving<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.mode.as_deref() {
            None => self.input.read(buffer),
            Some("abort") => abort(),
            Some("allocate") => Ok(vec![1_u8; 8 << 30].len()),
            Some("hang") => loop {
                park();
            },
            Some(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}
