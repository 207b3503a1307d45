//! The console over a real socket, with a site in memory behind it.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

mod acting;
mod api;
mod contract;
mod hostile;
mod live;
mod pages;
mod report;
#[path = "../../examples/console_pages/reports.rs"]
mod reports;
mod serving;
#[path = "../../examples/console_pages/world.rs"]
mod world;
