//! `decode-worker`: the sandboxed process that looks at pixels; started by its parent, spoken to over pipes.

use std::{io::Write as _, process::ExitCode};

use crate::exit::Exit;

pub(crate) fn run() -> ExitCode {
    match services::decode_worker::serve(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent reads the exit code; the text is for whoever starts a worker by hand.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            Exit::Failed.into()
        }
    }
}
