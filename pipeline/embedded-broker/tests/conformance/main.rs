//! What a client may expect of a broker, asked through rdkafka. Every test runs against the embedded broker, and against
//! a real Apache Kafka as well where `KAFKA_BOOTSTRAP` names one, so that the two cannot drift apart:
//!
//! ```sh
//! export KAFKA_BOOTSTRAP=$(.ci/kafka start /tmp/kafka) && cargo test -p embedded-broker --test conformance
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a step that fails is a test that fails, in a function of its own too"
)]

#[path = "../client/mod.rs"]
mod client;

mod admin;
mod groups;
mod produce_fetch;
mod times;

use client::Client;
use embedded_broker::{Broker, Config};

/// Runs a check on each broker there is.
fn on_each_broker(check: impl Fn(&Client)) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Config::new(dir.path())).unwrap();
    check(&Client::new(broker.bootstrap()));
    broker.shutdown();
    #[expect(clippy::disallowed_methods, reason = "the address of a broker that only a test run knows")]
    if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
        check(&Client::new(bootstrap));
    }
}
