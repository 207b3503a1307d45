//! Holds the engine against answers of transformers: `parity FOLDER`, made by `fixtures/make_fixtures.py --fresh`.
//!
//! A line for each case with the largest relative difference of its scores; exit 1 if one differs.

#![expect(clippy::unwrap_used, reason = "a folder that is not as the script writes it ends the run")]

#[path = "../tests/library/agreement.rs"]
mod agreement;
#[path = "../tests/library/case.rs"]
mod case;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use glm46v::{Checkpoint, Engine, EngineOptions};

fn main() -> ExitCode {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let mut out = std::io::stdout().lock();
    let (mut worst, mut asked, mut differing) = (0.0_f64, 0, 0);
    for (checkpoint, cases) in case::cases(&folder) {
        let checkpoint = Checkpoint::open(folder.join(checkpoint)).unwrap();
        let engine = Engine::start(checkpoint, EngineOptions::default()).unwrap();
        for case in cases {
            asked += 1;
            let (name, margin) = (&case.name, &case.about["margin"]);
            match agreement::agreement(&engine, &case) {
                Ok(agreed) => {
                    worst = worst.max(agreed.scores);
                    let (scores, end) = (agreed.scores, agreed.finish_reason);
                    writeln!(out, "ok     {name}: scores {scores:.1e}, margin {margin}, {end:?}").unwrap();
                }
                Err(error) => {
                    differing += 1;
                    writeln!(out, "FAILED {name}: {error}").unwrap();
                }
            }
        }
    }
    let (tokens, within) = (agreement::TOKENS, agreement::SCORES_WITHIN);
    writeln!(
        out,
        "{asked} cases of {tokens} tokens, {differing} differ; scores at most {worst:.1e}, {within:.0e} allowed"
    )
    .unwrap();
    if asked > 0 && differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
