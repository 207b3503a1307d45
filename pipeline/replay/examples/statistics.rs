//! Answers to an oracle's questions: one JSON object on standard input, one on standard output.
//!
//! What is asked for is computed by the crate alone; `tests/oracle/make_fixtures.py --check` compares it with SciPy and
//! statsmodels.

use std::io::Write as _;

#[path = "../tests/oracle/answers.rs"]
mod answers;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked: answers::Questions = serde_json::from_reader(std::io::stdin().lock())?;
    let said = answers::answer(&asked).ok_or("a question has no answer")?;
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&said)?)?;
    Ok(())
}
