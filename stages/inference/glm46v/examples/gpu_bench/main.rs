//! The Rust half of `benches/gpu/measure.py`: what it asks for by a command line, it gets as JSON on standard output.
//!
//! ```text
//! gpu_bench probe  DEVICE               matrix products, quantised products, attention kernels, against the CPU
//! gpu_bench parity DEVICE FOLDER OUT    each case of FOLDER answered; ids and scores to OUT/<case>.safetensors
//! gpu_bench load   PLAN.json            studies by the plan: a line for the engine, then one for each load
//! ```
//! DEVICE is `cpu` or `cuda:0`.

mod answers;
mod load;
mod memory;
mod probe;

use std::process::ExitCode;

/// What ends a run: the reader is a script, which prints it.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["probe", device] => probe::run(device),
        ["parity", device, folder, out] => answers::run(device, folder.as_ref(), out.as_ref()),
        ["load", plan] => load::run(plan.as_ref()),
        _ => Err("expected probe DEVICE, parity DEVICE FOLDER OUT or load PLAN.json".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&serde_json::json!({ "error": chain(&*error) }));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[expect(clippy::print_stdout, reason = "a line of JSON is what the script waits for")]
fn print(line: &serde_json::Value) {
    println!("{line}");
}
