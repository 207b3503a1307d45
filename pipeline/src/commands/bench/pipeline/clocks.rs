//! The two measurements, the same for every carrier, and the studies they are made with.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseRecord, Producer as _},
};
use runtime::Publisher;
use schemas::{Envelope, Message as _, Priority, Revision, RunId, StudyUid, encode, event_id};

use crate::exit::Failure;

use super::{
    carrier::{Carrier, Carriers, Carrying, owned, producer, send},
    place::{Place, positions},
    relay::{Acquired, OnBench as _},
    table::Percentiles,
};

/// How long nothing may move before the bench gives up. Covers a group's first rebalance.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the ends of the output topic are looked at: the grain of a throughput measurement.
const LOOK: Duration = Duration::from_millis(5);
/// Lone records that are not counted: they pay for connections and caches.
const WARM_UP: usize = 20;
/// Between two lone records: 10 to 22 ms, so that no timer keeps step.
const GAP: Duration = Duration::from_millis(10);

/// Makes studies, each with a UID of its own.
pub(super) struct Studies<'a> {
    place: &'a Place,
    example: Acquired,
    seed: u64,
    made: u64,
}

impl<'a> Studies<'a> {
    /// The studies of `seed`.
    pub(super) fn new(place: &'a Place, seed: u64) -> Result<Self, Failure> {
        Ok(Self { place, example: Acquired::example()?, seed, made: 0 })
    }

    fn next(&mut self) -> Result<(Acquired, Envelope), Failure> {
        let mut message = self.example.clone();
        let study = message.study_mut();
        // The seed leads, so no number begins with 0 (DICOM PS3.5 §9.1).
        study.study_uid = StudyUid::new(&format!("2.25.{}{:015}", self.seed, self.made))?;
        study.revision = Revision::FIRST;
        study.priority = Priority::Routine;
        self.made += 1;
        let run = RunId::live();
        let id = event_id(&run, Acquired::STEP, &[message.study().study_uid.as_str()]);
        let envelope = Envelope::of(&message, id, run, Acquired::STEP, Timestamp::now());
        Ok((message, envelope))
    }

    /// Puts `records` studies on the first topic and waits for their acknowledgement. Returns the bytes of a record:
    /// key, headers and value, on average.
    pub(super) fn fill(&mut self, records: u64) -> Result<u64, Failure> {
        let before = total(&self.place.ends(Acquired::NAME)?);
        let producer = producer(&self.place.librdkafka())?;
        let mut bytes = 0;
        for _ in 0..records {
            let (message, envelope) = self.next()?;
            let (payload, headers) = (encode(&message), envelope.to_headers());
            let key = message.study().study_uid.as_str().as_bytes();
            bytes += key.len() + payload.len();
            bytes += headers.iter().map(|header| header.key.len() + header.value.len()).sum::<usize>();
            send(
                &producer,
                BaseRecord::to(Acquired::NAME).key(key).payload(payload.as_slice()).headers(owned(&headers)),
            )?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE)?;
        let filled = total(&self.place.ends(Acquired::NAME)?) - before;
        if filled != records {
            return Err(Failure::from(format!("{filled} of {records} records reached {}", Acquired::NAME)));
        }
        Ok(bytes as u64 / records.max(1))
    }
}

fn total(ends: &[i64]) -> u64 {
    ends.iter().map(|end| end.unsigned_abs()).sum()
}

/// Records per second from the arrival of the first of `records` at `carrier` to the acknowledgement of the last on
/// topic `to`.
pub(super) fn records_per_second(
    carriers: &Carriers<'_>,
    carrier: Carrier,
    start: &[i64],
    to: &str,
    records: u64,
) -> Result<f64, Failure> {
    let place = carriers.place;
    let observer = place.observer()?;
    let before = total(&place.ends_by(&observer, to)?);
    carriers.carry(carrier, start, |carrying| {
        let (mut done, mut moved) = (0, Instant::now());
        while done < records {
            std::thread::sleep(LOOK);
            let now = total(&place.ends_by(&observer, to)?) - before;
            if now > done {
                (done, moved) = (now, Instant::now());
            }
            gone(carrying, moved, || format!("{done} of {records} records reached {to}"))?;
        }
        let first = carrying.first_input.get().ok_or("records arrived that nobody carried")?;
        Ok(records as f64 / moved.duration_since(*first).as_secs_f64())
    })
}

/// Gives up when nothing can move any more.
fn gone(carrying: &Carrying, moved: Instant, what: impl Fn() -> String) -> Result<(), Failure> {
    if carrying.has_ended() {
        return Err(Failure::from(format!("{}, then the carrier ended", what())));
    }
    if moved.elapsed() > PATIENCE {
        return Err(Failure::from(format!("{}, then nothing for {} s", what(), PATIENCE.as_secs())));
    }
    Ok(())
}

/// Times of lone records, from the acknowledgement of the input to the arrival of its output at a consumer of `to`
/// that waits for it.
pub(super) fn hop_times(
    carriers: &Carriers<'_>,
    carrier: Carrier,
    to: &str,
    studies: &mut Studies<'_>,
    records: usize,
) -> Result<Percentiles, Failure> {
    let place = carriers.place;
    let start = place.ends(Acquired::NAME)?;
    let waiting = place.observer()?;
    waiting.assign(&positions(to, &place.ends_by(&waiting, to)?)?)?;
    let publisher = Publisher::connect(&place.client, PATIENCE)?;
    carriers.carry(carrier, &start, |carrying| {
        let mut times = Vec::with_capacity(records);
        for n in 0..WARM_UP + records {
            let (message, envelope) = studies.next()?;
            publisher.publish(&message, &envelope, Priority::Routine)?;
            let acknowledged = Instant::now();
            arrival(&waiting, message.study().study_uid.as_str().as_bytes(), carrying)?;
            if n >= WARM_UP {
                times.push(acknowledged.elapsed());
            }
            std::thread::sleep(GAP + Duration::from_millis(n as u64 * 7 % 13));
        }
        Percentiles::of(times).ok_or_else(|| Failure::usage("no hop was measured"))
    })
}

/// Waits for the record of `key`.
fn arrival(waiting: &BaseConsumer, key: &[u8], carrying: &Carrying) -> Result<(), Failure> {
    let since = Instant::now();
    loop {
        if let Some(message) = waiting.poll(Duration::from_millis(100))
            && message?.key() == Some(key)
        {
            return Ok(());
        }
        gone(carrying, since, || "a lone record was sent".to_owned())?;
    }
}
