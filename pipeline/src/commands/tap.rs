//! `tap`: a masked sample of a topic.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use console::site::{TapRequest, TappedRecord};

use crate::{
    api_client::ApiClient,
    cli::{Options, Tap},
    exit::{Exit, Failure},
};

/// What one request waits: less than the API allows.
const ONE_WAIT: Duration = Duration::from_secs(20);

pub(crate) fn run(arguments: &Tap, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let client = ApiClient::connect(options, data_dir)?;
    let request = |count, wait: Duration| TapRequest {
        topic: arguments.topic.clone(),
        count,
        wait_ms: wait.as_millis() as u64,
        rate_per_s: arguments.rate.unwrap_or(0),
    };
    let Some(wait) = arguments.wait else {
        for record in client.tap(&request(arguments.count, Duration::ZERO))? {
            print(&arguments.topic, &record, options)?;
        }
        return Ok(Exit::Done);
    };
    let deadline = Instant::now() + wait;
    let mut left = arguments.count;
    while left > 0 {
        let now = Instant::now();
        if now >= deadline {
            break;
        }
        let once = deadline.saturating_duration_since(now).clamp(Duration::from_millis(1), ONE_WAIT);
        let records = client.tap(&request(left, once))?;
        left = left.saturating_sub(records.len() as u32);
        for record in &records {
            print(&arguments.topic, record, options)?;
        }
    }
    Ok(Exit::Done)
}

fn print(topic: &str, record: &TappedRecord, options: &Options) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, record)?;
        writeln!(out)?;
        return Ok(());
    }
    let at = record.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    writeln!(out, "{topic}[{}]@{}  {at}  {} bytes", record.partition, record.offset, record.bytes)?;
    for (name, value) in &record.headers {
        writeln!(out, "  {name}: {value}")?;
    }
    match &record.message {
        Some(message) => writeln!(out, "  {message}")?,
        None => writeln!(out, "  (not a message of this topic; its bytes are not shown)")?,
    }
    Ok(())
}
