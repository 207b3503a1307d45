use proptest::prelude::*;
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::group::member::{Joined, Profile, Protocol};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_mins(1);
const GROUP: &str = "stage";

type JoinAnswer = Receiver<Result<Joined, JoinRefused>>;
type SyncAnswer = Receiver<Result<Bytes, ResponseError>>;

struct Fixture {
    dir: tempfile::TempDir,
    coordinator: Coordinator,
    now: Instant,
}

fn open(dir: &Path, now: Instant) -> Coordinator {
    let journal = dir.join("groups.journal");
    let config = CoordinatorConfig {
        journal: &journal,
        session_timeouts: Duration::from_secs(6)..=Duration::from_mins(30),
        sync: false,
    };
    Coordinator::open(config, now).unwrap()
}

fn profile(instance: Option<&str>, protocols: &[&str]) -> Profile {
    Profile {
        instance_id: instance.map(str::to_owned),
        client_id: "worker".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocols: protocols
            .iter()
            .map(|name| Protocol { name: (*name).to_owned(), metadata: vec![1] })
            .collect(),
    }
}

fn caller(joined: &Joined) -> Caller<'_> {
    Caller { member_id: &joined.member_id, instance_id: None, generation: joined.generation }
}

fn offset(topic: &str, offset: i64) -> StoredOffset {
    let committed = Committed { offset, leader_epoch: 0, metadata: String::new() };
    StoredOffset { topic: topic.to_owned(), partition: 0, committed }
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        Fixture { coordinator: open(dir.path(), now), dir, now }
    }

    fn restart(&mut self) {
        self.coordinator = open(self.dir.path(), self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.coordinator.expire(self.now);
    }

    fn ask(&mut self, member_id: &str, profile: Profile, two_steps: bool) -> JoinAnswer {
        let (reply, answer) = oneshot::channel();
        let join = Join {
            group: GROUP.to_owned(),
            member_id: member_id.to_owned(),
            protocol_type: "consumer".to_owned(),
            profile,
            two_steps,
        };
        self.coordinator.join(self.now, join, reply);
        answer
    }

    fn join(&mut self, member_id: &str) -> JoinAnswer {
        self.ask(member_id, profile(None, &["range"]), false)
    }

    fn join_static(&mut self, instance: &str) -> JoinAnswer {
        self.ask("", profile(Some(instance), &["range"]), true)
    }

    fn sync(&mut self, joined: &Joined, assignments: &[(&str, &'static str)]) -> SyncAnswer {
        let (reply, answer) = oneshot::channel();
        let assignments = assignments
            .iter()
            .map(|(id, part)| ((*id).to_owned(), Bytes::from_static(part.as_bytes())))
            .collect();
        self.coordinator.sync(self.now, GROUP, caller(joined), assignments, reply);
        answer
    }

    fn heartbeat(&mut self, joined: &Joined) -> Result<(), ResponseError> {
        self.coordinator.heartbeat(self.now, GROUP, caller(joined))
    }

    fn commit(&mut self, joined: &Joined, at: i64) -> Result<(), ResponseError> {
        self.coordinator.commit(self.now, GROUP, caller(joined), vec![offset("t", at)])
    }

    fn committed(&self) -> Option<i64> {
        self.coordinator.committed(GROUP, &("t".to_owned(), 0)).map(|committed| committed.offset)
    }

    /// A stable group of two members.
    fn pair(&mut self) -> (Joined, Joined) {
        let first = answered(&mut self.join("")).unwrap();
        let mut second = self.join("");
        assert!(second.try_recv().is_err(), "the first member has not come yet");
        let first = answered(&mut self.join(&first.member_id)).unwrap();
        let second = answered(&mut second).unwrap();
        let mut waiting = self.sync(&second, &[]);
        let parts = [(first.member_id.as_str(), "one"), (second.member_id.as_str(), "two")];
        assert_eq!(answered(&mut self.sync(&first, &parts)), Ok(Bytes::from_static(b"one")));
        assert_eq!(answered(&mut waiting), Ok(Bytes::from_static(b"two")));
        (first, second)
    }
}

fn answered<T>(answer: &mut Receiver<T>) -> T {
    answer.try_recv().expect("an answer")
}

#[test]
fn a_new_member_gets_its_id_first_and_then_leads() {
    let mut group = Fixture::new();
    let refused = answered(&mut group.ask("", profile(None, &["range"]), true)).unwrap_err();
    assert_eq!(refused.code, ResponseError::MemberIdRequired);
    let joined = answered(&mut group.join(&refused.member_id)).unwrap();
    assert_eq!((&joined.member_id, &joined.leader), (&refused.member_id, &refused.member_id));
    assert_eq!((joined.generation, joined.members.len()), (1, 1));
}

#[test]
fn an_id_this_group_never_gave_is_refused() {
    let mut group = Fixture::new();
    let refused = answered(&mut group.join("made-up")).unwrap_err();
    assert_eq!(refused.code, ResponseError::UnknownMemberId);
    group.pair();
    let refused = answered(&mut group.join("made-up")).unwrap_err();
    assert_eq!(refused.code, ResponseError::UnknownMemberId);
}

#[test]
fn members_hear_of_a_rebalance_by_heartbeat_and_old_generations_are_refused() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    assert_eq!(group.heartbeat(&first), Ok(()));
    let mut third = group.join("");
    assert_eq!(group.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    assert_eq!(group.commit(&first, 5), Ok(()), "the old generation may commit until the new one begins");
    let mut again = [group.join(&first.member_id), group.join(&second.member_id)];
    let third = answered(&mut third).unwrap();
    assert_eq!(third.generation, first.generation + 1);
    assert!(again.iter_mut().all(|answer| answered(answer).is_ok()));
    assert_eq!(group.heartbeat(&first), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.commit(&first, 9), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.commit(&third, 9), Err(ResponseError::RebalanceInProgress));
    assert_eq!(group.committed(), Some(5));
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    group.pass(SESSION / 2);
    group.heartbeat(&first).unwrap();
    group.pass(SESSION / 2);
    assert_eq!(group.heartbeat(&second), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    let alone = answered(&mut group.join(&first.member_id)).unwrap();
    assert_eq!(alone.members.len(), 1);
}

#[test]
fn a_member_that_does_not_come_to_the_rebalance_is_out_though_it_heartbeats() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    let mut again = group.join(&first.member_id);
    for _ in 0..REBALANCE.as_secs() / 5 {
        assert!(again.try_recv().is_err());
        let _rebalance_in_progress = group.heartbeat(&second);
        group.pass(Duration::from_secs(5));
    }
    assert_eq!(answered(&mut again).unwrap().members.len(), 1);
    assert_eq!(group.heartbeat(&second), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_leader_lost_before_its_assignment_starts_another_rebalance() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    let mut again = [group.join(&first.member_id), group.join(&second.member_id)];
    let joined: Vec<Joined> = again.iter_mut().map(|answer| answered(answer).unwrap()).collect();
    let follower = joined.iter().find(|joined| joined.leader != joined.member_id).unwrap();
    let mut waiting = group.sync(follower, &[]);
    group.pass(SESSION);
    assert_eq!(answered(&mut waiting), Err(ResponseError::RebalanceInProgress));
    let alone = answered(&mut group.join(&follower.member_id)).unwrap();
    assert_eq!(alone.leader, alone.member_id);
}

#[test]
fn a_joiner_whose_connection_is_gone_is_not_waited_for() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    drop(group.join(&second.member_id));
    let mut again = group.join(&first.member_id);
    assert!(again.try_recv().is_err());
    group.pass(SESSION);
    assert_eq!(answered(&mut again).unwrap().members.len(), 1);
}

#[test]
fn leaving_moves_the_partitions_and_the_last_one_empties_the_group() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    let now = group.now;
    assert_eq!(group.coordinator.leave(now, GROUP, &second.member_id, None), Ok(()));
    assert_eq!(group.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    group.commit(&first, 7).unwrap();
    assert_eq!(group.coordinator.delete(now, GROUP), Err(ResponseError::NonEmptyGroup));
    assert_eq!(group.coordinator.leave(now, GROUP, &first.member_id, None), Ok(()));
    assert_eq!(group.coordinator.group(GROUP).unwrap().state, State::Empty);
    assert_eq!(group.coordinator.delete(now, GROUP), Ok(()));
    assert_eq!(group.coordinator.delete(now, GROUP), Err(ResponseError::GroupIdNotFound));
    assert_eq!(group.committed(), None);
}

#[test]
fn a_static_member_comes_back_to_its_place_and_its_ghost_is_fenced() {
    let mut group = Fixture::new();
    let first = answered(&mut group.join_static("pod-0")).unwrap();
    let mut waiting = group.sync(&first, &[(first.member_id.as_str(), "all")]);
    assert_eq!(answered(&mut waiting), Ok(Bytes::from_static(b"all")));
    let back = answered(&mut group.join_static("pod-0")).unwrap();
    assert_eq!(back.generation, first.generation);
    assert_ne!(back.member_id, first.member_id);
    assert_ne!(back.leader, back.member_id, "it must not assign anew");
    assert_eq!(answered(&mut group.sync(&back, &[])), Ok(Bytes::from_static(b"all")));
    let ghost = Caller { instance_id: Some("pod-0"), ..caller(&first) };
    let now = group.now;
    assert_eq!(group.coordinator.heartbeat(now, GROUP, ghost), Err(ResponseError::FencedInstanceId));
    assert_eq!(
        group.coordinator.commit(now, GROUP, ghost, vec![offset("t", 1)]),
        Err(ResponseError::FencedInstanceId)
    );
}

#[test]
fn members_without_a_common_protocol_are_refused() {
    let mut group = Fixture::new();
    group.pair();
    let refused = answered(&mut group.ask("", profile(None, &["cooperative-sticky"]), false)).unwrap_err();
    assert_eq!(refused.code, ResponseError::InconsistentGroupProtocol);
}

#[test]
fn a_session_outside_of_the_limits_is_refused() {
    let mut group = Fixture::new();
    let short = Profile { session_timeout: Duration::from_secs(1), ..profile(None, &["range"]) };
    assert_eq!(
        answered(&mut group.ask("", short, false)).unwrap_err().code,
        ResponseError::InvalidSessionTimeout
    );
}

#[test]
fn strangers_commit_only_while_the_group_is_empty() {
    let mut group = Fixture::new();
    let stranger = Caller { member_id: "", instance_id: None, generation: -1 };
    let now = group.now;
    assert_eq!(group.coordinator.commit(now, GROUP, stranger, vec![offset("t", 3)]), Ok(()));
    group.pair();
    assert_eq!(
        group.coordinator.commit(now, GROUP, stranger, vec![offset("t", 9)]),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(group.committed(), Some(3));
}

#[test]
fn offsets_and_stable_members_survive_a_restart() {
    let mut group = Fixture::new();
    let (first, second) = group.pair();
    group.commit(&first, 42).unwrap();
    for _ in 0..2 {
        group.restart();
        assert_eq!(group.committed(), Some(42));
        assert_eq!(group.heartbeat(&first), Ok(()));
        assert_eq!(answered(&mut group.sync(&second, &[])), Ok(Bytes::from_static(b"two")));
    }
    group.pass(SESSION);
    assert_eq!(group.heartbeat(&first), Err(ResponseError::UnknownMemberId));
    group.restart();
    assert_eq!(group.committed(), Some(42));
}

#[test]
fn a_deleted_topic_leaves_no_offsets() {
    let mut group = Fixture::new();
    let (first, _) = group.pair();
    group.commit(&first, 42).unwrap();
    let now = group.now;
    group.coordinator.forget_topic(now, "t").unwrap();
    assert_eq!(group.committed(), None);
    group.restart();
    assert_eq!(group.committed(), None);
}

/// What a member of the model does next.
#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Hangup(usize),
    Pass(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0_usize..4;
    let step = prop_oneof![
        5 => member.clone().prop_map(Step::Join),
        5 => member.clone().prop_map(Step::Sync),
        2 => member.clone().prop_map(Step::Heartbeat),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.prop_map(Step::Hangup),
        2 => (1_u64..15).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The answer, if one has come; a dropped reply is one too: its member is out.
fn come<T, E>(answer: &mut Receiver<Result<T, E>>) -> Option<Result<T, Option<E>>> {
    match answer.try_recv() {
        Ok(answer) => Some(answer.map_err(Some)),
        Err(oneshot::error::TryRecvError::Closed) => Some(Err(None)),
        Err(oneshot::error::TryRecvError::Empty) => None,
    }
}

/// Four members, what each knows, and what is known of every generation so far.
struct Model {
    group: Fixture,
    joined: [Option<Joined>; 4],
    joining: [Option<JoinAnswer>; 4],
    syncing: [Option<SyncAnswer>; 4],
    leaders: BTreeMap<i32, String>,
    owners: BTreeMap<(i32, Bytes), String>,
    generation: i32,
}

impl Model {
    fn new() -> Model {
        Model {
            group: Fixture::new(),
            joined: Default::default(),
            joining: Default::default(),
            syncing: Default::default(),
            leaders: BTreeMap::new(),
            owners: BTreeMap::new(),
            generation: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Join(member) => {
                let id =
                    self.joined[*member].as_ref().map_or(String::new(), |joined| joined.member_id.clone());
                self.syncing[*member] = None;
                self.joining[*member] = Some(self.group.join(&id));
            }
            Step::Sync(member) => {
                if let Some(me) = self.joined[*member].clone() {
                    let names = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];
                    let parts: Vec<(&str, &'static str)> = me
                        .members
                        .iter()
                        .zip(names)
                        .map(|(member, part)| (member.id.as_str(), part))
                        .collect();
                    self.syncing[*member] = Some(self.group.sync(&me, &parts));
                }
            }
            Step::Heartbeat(member) => {
                if let Some(me) = self.joined[*member].clone() {
                    let _any_answer = self.group.heartbeat(&me);
                }
            }
            Step::Leave(member) => {
                if let Some(me) = self.joined[*member].take() {
                    let _any_answer =
                        self.group.coordinator.leave(self.group.now, GROUP, &me.member_id, None);
                }
            }
            Step::Hangup(member) => {
                self.joining[*member] = None;
                self.syncing[*member] = None;
            }
            Step::Pass(seconds) => self.group.pass(Duration::from_secs(*seconds)),
            Step::Restart => {
                self.group.restart();
                self.joining = Default::default();
                self.syncing = Default::default();
                self.joined = Default::default();
                self.begin_anew();
            }
        }
        self.settle();
    }

    /// A rebalance under way ends with its broker, a group with its last member: the number may be given again.
    fn begin_anew(&mut self) {
        self.leaders.clear();
        self.owners.clear();
        self.generation = 0;
    }

    /// Takes the answers that have come, and holds them against what others were told.
    fn settle(&mut self) {
        for member in 0..4 {
            if let Some(answer) = self.joining[member].as_mut().and_then(come) {
                self.joining[member] = None;
                self.joined[member] = answer.ok();
                if let Some(joined) = &self.joined[member] {
                    let leader =
                        self.leaders.entry(joined.generation).or_insert_with(|| joined.leader.clone());
                    assert_eq!(leader, &joined.leader, "two leaders in one generation");
                }
            }
            if let Some(answer) = self.syncing[member].as_mut().and_then(come) {
                self.syncing[member] = None;
                if let (Ok(part), Some(joined)) = (answer, &self.joined[member])
                    && !part.is_empty()
                {
                    let place = (joined.generation, part);
                    let owner = self.owners.entry(place).or_insert_with(|| joined.member_id.clone());
                    assert_eq!(owner, &joined.member_id, "two owners in one generation");
                }
            }
        }
        match self.group.coordinator.group(GROUP) {
            None => self.begin_anew(),
            Some(group) => {
                assert!(group.generation >= self.generation, "a generation went back");
                self.generation = group.generation;
            }
        }
    }
}

proptest! {
    /// Whatever four members do: a generation never goes back, everyone in it is told of the same leader, and no part is
    /// given to two members. In the end everyone who waits is answered.
    #[test]
    fn members_agree_whatever_they_do(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        model.take(&Step::Pass(REBALANCE.as_secs()));
        model.take(&Step::Pass(REBALANCE.as_secs()));
        prop_assert!(model.joining.iter().all(Option::is_none));
        prop_assert!(model.syncing.iter().all(Option::is_none));
    }
}
