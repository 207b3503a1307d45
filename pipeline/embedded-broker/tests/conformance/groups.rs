use std::collections::BTreeSet;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{Client, PATIENCE, admin_options, next, owned, place, poll, unique, until, wait};
use crate::on_each_broker;

/// Polls all members until what each owns is as wished.
fn settle(what: &str, members: &[&BaseConsumer], is_settled: impl Fn(&[BTreeSet<i32>]) -> bool) {
    until(what, || {
        for member in members {
            poll(member);
        }
        is_settled(&members.iter().map(|member| owned(member)).collect::<Vec<_>>())
    });
}

/// Every partition has one owner, and the members own these numbers of them.
fn shared(partitions: usize, sizes: &[usize]) -> impl Fn(&[BTreeSet<i32>]) -> bool {
    move |owned| {
        let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
        let mut found: Vec<usize> = owned.iter().map(BTreeSet::len).collect();
        found.sort_unstable();
        all.len() == partitions && found == sizes
    }
}

fn commit(consumer: &BaseConsumer, topic: &str, partition: i32, offset: i64) -> Result<(), RDKafkaErrorCode> {
    consumer
        .commit(&place(topic, partition, Offset::Offset(offset)), CommitMode::Sync)
        .map_err(|error| error.rdkafka_error_code().unwrap())
}

#[test]
fn a_group_goes_on_where_it_committed() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(1, &[]), unique("group"));
        kafka.produce(&topic, 0, (0..100).map(|n| n.to_string()));
        assert_eq!(kafka.committed(&group, &topic, 0), None);
        let first = kafka.member(&group, &[&topic], &[]);
        for n in 0..60 {
            assert_eq!(next(&first).offset(), n);
        }
        commit(&first, &topic, 0, 60).unwrap();
        drop(first);
        assert_eq!(kafka.committed(&group, &topic, 0), Some(60));
        let second = kafka.member(&group, &[&topic], &[]);
        assert_eq!(next(&second).offset(), 60);
    });
}

fn members_share_and_inherit(kafka: &Client, strategy: &str) {
    let (topic, group) = (kafka.topic(4, &[]), unique("group"));
    let settings = [("partition.assignment.strategy", strategy)];
    let first = kafka.member(&group, &[&topic], &settings);
    settle("one member owns all", &[&first], shared(4, &[4]));
    let second = kafka.member(&group, &[&topic], &settings);
    settle("two members share", &[&first, &second], shared(4, &[2, 2]));
    let third = kafka.member(&group, &[&topic], &settings);
    settle("three members share", &[&first, &second, &third], shared(4, &[1, 1, 2]));
    drop(second);
    settle("those who stay inherit", &[&first, &third], shared(4, &[2, 2]));
    kafka.produce(&topic, 0, ["for its one owner"]);
    let mut read = Vec::new();
    until("the message is read", || {
        read.extend([&first, &third].into_iter().filter_map(poll));
        !read.is_empty()
    });
    assert_eq!(read[0].payload(), Some(&b"for its one owner"[..]));
}

#[test]
fn members_share_partitions_by_range() {
    on_each_broker(|kafka| members_share_and_inherit(kafka, "range"));
}

#[test]
fn members_share_partitions_cooperatively() {
    on_each_broker(|kafka| members_share_and_inherit(kafka, "cooperative-sticky"));
}

#[test]
fn a_cooperative_member_keeps_what_it_need_not_give_away() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(4, &[]), unique("group"));
        let settings = [("partition.assignment.strategy", "cooperative-sticky")];
        let first = kafka.member(&group, &[&topic], &settings);
        settle("one member owns all", &[&first], shared(4, &[4]));
        let second = kafka.member(&group, &[&topic], &settings);
        let mut fewest = 4;
        until("two members share", || {
            poll(&first);
            poll(&second);
            fewest = fewest.min(owned(&first).len());
            shared(4, &[2, 2])(&[owned(&first), owned(&second)])
        });
        assert_eq!(fewest, 2, "it never gave up all, as an eager one does");
    });
}

#[test]
fn a_static_member_restarts_without_a_rebalance() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(4, &[]), unique("group"));
        let member = |instance| kafka.member(&group, &[&topic], &[("group.instance.id", instance)]);
        let (first, second) = (member("pod-0"), member("pod-1"));
        settle("two members share", &[&first, &second], shared(4, &[2, 2]));
        let (kept, moved) = (owned(&first), owned(&second));
        let generation = |kafka: &Client| {
            let consumer: BaseConsumer = kafka.config(&[]).create().unwrap();
            let groups = consumer.fetch_group_list(Some(&group), PATIENCE).unwrap();
            groups.groups()[0].state().to_owned()
        };
        drop(second);
        let second = member("pod-1");
        until("it has its partitions back", || {
            poll(&second);
            poll(&first);
            assert_eq!(owned(&first), kept, "the other one keeps its own all the time");
            owned(&second) == moved
        });
        assert_eq!(generation(kafka), "Stable");
    });
}

#[test]
fn a_static_member_that_stays_away_loses_its_partitions_after_its_session() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(2, &[]), unique("group"));
        let member = |instance| kafka.member(&group, &[&topic], &[("group.instance.id", instance)]);
        let (first, second) = (member("pod-0"), member("pod-1"));
        settle("two members share", &[&first, &second], shared(2, &[1, 1]));
        drop(second);
        settle("the one that stays inherits", &[&first], shared(2, &[2]));
    });
}

#[test]
fn a_group_is_listed_described_and_deleted() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(1, &[]), unique("group"));
        let member = kafka.member(&group, &[&topic], &[("client.id", "worker-7")]);
        settle("the member owns all", &[&member], shared(1, &[1]));
        commit(&member, &topic, 0, 0).unwrap();
        let asker: BaseConsumer = kafka.config(&[]).create().unwrap();
        let all = asker.fetch_group_list(None, PATIENCE).unwrap();
        assert!(all.groups().iter().any(|listed| listed.name() == group));
        let described = asker.fetch_group_list(Some(&group), PATIENCE).unwrap();
        let described = &described.groups()[0];
        assert_eq!((described.state(), described.protocol_type()), ("Stable", "consumer"));
        assert_eq!(described.protocol(), "range");
        assert_eq!(described.members()[0].client_id(), "worker-7");
        let delete = || wait(kafka.admin().delete_groups(&[&group], &admin_options())).unwrap().remove(0);
        assert_eq!(delete(), Err((group.clone(), RDKafkaErrorCode::NonEmptyGroup)));
        drop(member);
        assert_eq!(delete(), Ok(group.clone()));
        assert_eq!(kafka.committed(&group, &topic, 0), None);
        assert_eq!(delete(), Err((group.clone(), RDKafkaErrorCode::GroupIdNotFound)));
    });
}

#[test]
fn a_stopped_group_can_be_moved_from_outside_and_a_running_one_cannot() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(1, &[]), unique("group"));
        kafka.produce(&topic, 0, (0..10).map(|n| n.to_string()));
        let outsider: BaseConsumer = kafka.config(&[("group.id", &group)]).create().unwrap();
        commit(&outsider, &topic, 0, 7).unwrap();
        let member = kafka.member(&group, &[&topic], &[]);
        assert_eq!(next(&member).offset(), 7);
        assert_eq!(commit(&outsider, &topic, 0, 1), Err(RDKafkaErrorCode::UnknownMemberId));
        assert_eq!(kafka.committed(&group, &topic, 0), Some(7));
    });
}

#[test]
fn a_committed_offset_keeps_its_note() {
    on_each_broker(|kafka| {
        let (topic, group) = (kafka.topic(1, &[]), unique("group"));
        let consumer: BaseConsumer = kafka.config(&[("group.id", &group)]).create().unwrap();
        let noted = place(&topic, 0, Offset::Offset(3));
        noted.find_partition(&topic, 0).unwrap().set_metadata("3 of 9 done");
        consumer.commit(&noted, CommitMode::Sync).unwrap();
        let asked = place(&topic, 0, Offset::Invalid);
        let committed = consumer.committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(committed.elements()[0].metadata(), "3 of 9 done");
        noted.find_partition(&topic, 0).unwrap().set_metadata("x".repeat(4097));
        let refused = consumer.commit(&noted, CommitMode::Sync).unwrap_err();
        assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetMetadataTooLarge));
    });
}
