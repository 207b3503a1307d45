//! Faults on real Apache Kafka and real PostgreSQL: workers killed, database stopped, broker stopped.
//!
//! Needs `--features outside` and these variables; without them every test fails and says so:
//! - `PRESCREEN_TEST_KAFKA`: bootstrap address of a broker started by `.ci/kafka start PARTS/kafka`.
//! - `PRESCREEN_TEST_POSTGRES`: URL of a server started by `.ci/postgres start PARTS/postgres`.
//! - `PRESCREEN_TEST_PARTS`: the folder `PARTS`, through which both are stopped and started again.
//!
//! Sizes, with the quick ones as defaults: `PRESCREEN_TEST_STUDIES` (60), `PRESCREEN_TEST_KILLS` (5),
//! `PRESCREEN_TEST_OUTAGE_SECONDS` (15), and `PRESCREEN_TEST_SEED` to make a run again. The issue's full size is
//! 200 studies, 20 kills, 60 s.
//!
//! ```text
//!   modality ──▶ edge: intake, store, console ──▶ Kafka ◀──▶ worker 1, worker 2: the four stages
//!                       └──▶ PostgreSQL                       (one folder of blobs for all)
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(
    clippy::print_stdout,
    reason = "a test that fails shows what its processes said, and what was measured"
)]

mod deployment;
mod kills;
mod outages;

#[path = "../harness/mod.rs"]
mod harness;
