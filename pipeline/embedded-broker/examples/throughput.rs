//! Messages per second through rdkafka, in and out: `cargo run -p embedded-broker --example throughput [-- COUNT]`.
//! 1 KiB messages over 4 partitions, acks=all, idempotent; one producer, one consumer, the broker in the same process.

use std::time::{Duration, Instant};

use embedded_broker::{Broker, Config};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const TOPIC: &str = "throughput";
const PARTITIONS: i32 = 4;

#[expect(clippy::print_stdout, reason = "the program's output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(500_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    let broker = Broker::start(Config::new(dir.path()))?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()))?;

    let producer: BaseProducer =
        config.clone().set("enable.idempotence", "true").set("linger.ms", "5").create()?;
    let value = vec![b'v'; 1024];
    let begun = Instant::now();
    for n in 0..count {
        let mut record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition((n % 4) as i32).payload(&value);
        while let Err((_queue_full, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_mins(1))?;
    println!("in:  {:.0} messages/s", f64::from(count) / begun.elapsed().as_secs_f64());

    let consumer: BaseConsumer = config.clone().set("group.id", "throughput").create()?;
    let mut all = TopicPartitionList::new();
    all.add_partition_range(TOPIC, 0, PARTITIONS - 1);
    all.set_all_offsets(Offset::Beginning)?;
    consumer.assign(&all)?;
    let begun = Instant::now();
    let mut read = 0;
    while read < count {
        if consumer.poll(Duration::from_millis(100)).transpose()?.is_some() {
            read += 1;
        }
    }
    println!("out: {:.0} messages/s", f64::from(count) / begun.elapsed().as_secs_f64());
    Ok(())
}
