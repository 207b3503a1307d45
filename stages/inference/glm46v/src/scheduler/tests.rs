//! The scheduler against a store that remembers what was written where, over random loads.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { step_rows: 48, running: 6, aging: Duration::from_secs(30) };

/// A request of the load: some share their beginning.
#[derive(Debug, Clone)]
struct Load {
    at_step: u64,
    prompt: usize,
    family: u32,
    answer: usize,
    /// Above 0: the prompt alone, whose spare blocks are then written to.
    spare: usize,
    priority: Priority,
    deadline_after: Option<u64>,
    cancelled_after: Option<u64>,
}

fn load() -> impl Strategy<Value = Load> {
    let priority = prop_oneof![Just(Priority::Urgent), Just(Priority::Routine)];
    let some_step = || prop_oneof![4 => Just(None), 1 => (1u64..60).prop_map(Some)];
    let spare = prop_oneof![3 => Just(0), 1 => 1usize..5];
    (0u64..40, 1usize..200, 0u32..3, 1usize..60, spare, priority, some_step(), some_step()).prop_map(
        |(at_step, prompt, family, answer, spare, priority, deadline_after, cancelled_after)| Load {
            at_step,
            prompt,
            family,
            answer: if spare > 0 { 0 } else { answer },
            spare,
            priority,
            deadline_after,
            cancelled_after,
        },
    )
}

/// What the model would store for a token: all tokens up to it.
fn fingerprint(tokens: &[TokenContent]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for token in tokens {
        token.id.hash(&mut hasher);
    }
    hasher.finish()
}

struct World {
    scheduler: Scheduler,
    store: HashMap<(BlockId, usize), u64>,
    /// Tokens, how many there are at the end, spare blocks.
    tokens: BTreeMap<SequenceId, (Vec<TokenContent>, usize, usize)>,
}

impl World {
    fn run(&mut self, plan: &Plan) {
        let rows: usize = plan.chunks.iter().map(|chunk| chunk.rows).sum();
        assert!(rows <= LIMITS.step_rows, "{rows} rows in a step");
        assert!(plan.chunks.len() <= LIMITS.running);
        for id in &plan.expired {
            self.tokens.remove(id);
        }
        for chunk in &plan.chunks {
            assert!(chunk.rows > 0 && chunk.blocks.len() * BLOCK >= chunk.past + chunk.rows);
            let (tokens, end, spare) = self.tokens.get_mut(&chunk.sequence).unwrap();
            for at in 0..chunk.past {
                let held = self.store.get(&(chunk.blocks[at / BLOCK], at % BLOCK));
                assert_eq!(held, Some(&fingerprint(&tokens[..=at])), "row {at} was overwritten");
            }
            for at in chunk.past..chunk.past + chunk.rows {
                self.store.insert((chunk.blocks[at / BLOCK], at % BLOCK), fingerprint(&tokens[..=at]));
            }
            assert_eq!(chunk.samples, chunk.past + chunk.rows == tokens.len());
            if chunk.samples {
                let held = (chunk.past + chunk.rows).div_ceil(BLOCK);
                assert!(chunk.blocks.len() >= held + *spare, "a spare block is missing");
                for block in &chunk.blocks[held..] {
                    self.store.extend((0..BLOCK).map(|row| ((*block, row), 0)));
                }
                let next = TokenContent::text(tokens.len() as u32 % 7);
                tokens.push(next);
                if tokens.len() >= *end {
                    self.scheduler.computed(chunk, None);
                    self.scheduler.remove(chunk.sequence);
                    self.tokens.remove(&chunk.sequence);
                } else {
                    self.scheduler.computed(chunk, Some(next));
                }
            } else {
                self.scheduler.computed(chunk, None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_request_ends_and_no_block_is_lost_or_shared_wrongly(
        mut loads in prop::collection::vec(load(), 1..24),
        blocks in 9u32..40,
    ) {
        loads.sort_by_key(|load| load.at_step);
        let mut world = World {
            scheduler: Scheduler::new(LIMITS, blocks),
            store: HashMap::new(),
            tokens: BTreeMap::new(),
        };
        let mut cancels: BTreeMap<u64, Vec<SequenceId>> = BTreeMap::new();
        // Far more than one row a step would need.
        let most: u64 = loads.iter().map(|load| (load.prompt + load.answer) as u64).sum::<u64>() * 4 + 200;
        let mut left = loads.into_iter().peekable();
        for step in 0..most {
            let now = Duration::from_secs(step);
            while let Some(load) = left.next_if(|load| load.at_step <= step) {
                let prompt: Vec<_> =
                    (0..load.prompt as u32).map(|i| TokenContent::text(i % 5 + load.family * 100)).collect();
                let arrival = Arrival {
                    prompt: prompt.clone(),
                    max_new_tokens: load.answer,
                    spare_blocks: load.spare,
                    priority: load.priority,
                    deadline: load.deadline_after.map(|steps| now + Duration::from_secs(steps)),
                };
                let fits = (load.prompt + load.answer).div_ceil(BLOCK) + load.spare <= blocks as usize;
                match world.scheduler.submit(arrival, now) {
                    Ok(id) => {
                        prop_assert!(fits);
                        world.tokens.insert(id, (prompt, load.prompt + load.answer, load.spare));
                        if let Some(steps) = load.cancelled_after {
                            cancels.entry(step + steps).or_default().push(id);
                        }
                    }
                    Err(_) => prop_assert!(!fits),
                }
            }
            for id in cancels.remove(&step).unwrap_or_default() {
                world.scheduler.remove(id);
                world.tokens.remove(&id);
            }
            let plan = world.scheduler.plan(now);
            if plan.chunks.is_empty() && plan.preempted.is_empty() && plan.expired.is_empty() {
                prop_assert!(world.scheduler.running() + world.scheduler.waiting() == 0, "nothing moves");
            }
            world.run(&plan);
            if world.tokens.is_empty() && left.peek().is_none() {
                break;
            }
        }
        prop_assert!(world.tokens.is_empty(), "{} requests never end", world.tokens.len());
        prop_assert_eq!(world.scheduler.blocks().1, 0);
    }
}

fn text(tokens: usize, first: u32) -> Vec<TokenContent> {
    (0..tokens as u32).map(|i| TokenContent::text(first + i)).collect()
}

fn arrival(tokens: usize, first: u32, priority: Priority) -> Arrival {
    Arrival { prompt: text(tokens, first), max_new_tokens: 8, spare_blocks: 0, priority, deadline: None }
}

fn all_rows(plan: &Plan) -> Vec<(u64, usize, usize)> {
    plan.chunks.iter().map(|chunk| (chunk.sequence.0, chunk.past, chunk.rows)).collect()
}

fn step(scheduler: &mut Scheduler, now: u64) -> Plan {
    let plan = scheduler.plan(Duration::from_secs(now));
    for chunk in &plan.chunks {
        scheduler.computed(chunk, chunk.samples.then(|| TokenContent::text(1)));
    }
    plan
}

#[test]
fn long_prompt_goes_in_chunks_beside_sequences_that_decode() {
    let mut scheduler = Scheduler::new(LIMITS, 20);
    scheduler.submit(arrival(10, 0, Priority::Routine), Duration::ZERO).unwrap();
    assert_eq!(all_rows(&step(&mut scheduler, 0)), [(1, 0, 10)]);
    scheduler.submit(arrival(100, 1000, Priority::Routine), Duration::ZERO).unwrap();
    assert_eq!(all_rows(&step(&mut scheduler, 1)), [(1, 10, 1), (2, 0, 47)]);
    assert_eq!(all_rows(&step(&mut scheduler, 2)), [(1, 11, 1), (2, 47, 47)]);
    assert_eq!(all_rows(&step(&mut scheduler, 3)), [(1, 12, 1), (2, 94, 6)]);
    assert_eq!(all_rows(&step(&mut scheduler, 4)), [(1, 13, 1), (2, 100, 1)]);
}

#[test]
fn shared_beginning_is_computed_once() {
    let mut scheduler = Scheduler::new(LIMITS, 20);
    let first = scheduler.submit(arrival(40, 0, Priority::Routine), Duration::ZERO).unwrap();
    step(&mut scheduler, 0);
    let second = scheduler.submit(arrival(40, 0, Priority::Routine), Duration::ZERO).unwrap();
    let plan = step(&mut scheduler, 1);
    assert_eq!(all_rows(&plan), [(first.0, 40, 1), (second.0, 32, 8)]);
    assert_eq!(scheduler.found(second), 32);
    assert_eq!(plan.chunks[0].blocks[0], plan.chunks[1].blocks[0]);
    assert_eq!(scheduler.blocks(), (20, 3));
}

#[test]
fn urgent_goes_first_until_routine_has_waited_long_enough() {
    let limits = Limits { running: 1, ..LIMITS };
    let mut scheduler = Scheduler::new(limits, 20);
    let routine = scheduler.submit(arrival(10, 0, Priority::Routine), Duration::ZERO).unwrap();
    let urgent = scheduler.submit(arrival(10, 100, Priority::Urgent), Duration::from_secs(1)).unwrap();
    assert_eq!(all_rows(&step(&mut scheduler, 1)), [(urgent.0, 0, 10)]);
    scheduler.remove(urgent);
    scheduler.submit(arrival(10, 200, Priority::Urgent), Duration::from_secs(29)).unwrap();
    assert_eq!(all_rows(&step(&mut scheduler, 30)), [(routine.0, 0, 10)]);
}

#[test]
fn the_one_that_ranks_last_gives_way_and_comes_back() {
    // Four blocks: two sequences of 60 tokens fill them, and the first to need a third block takes it.
    let mut scheduler = Scheduler::new(Limits { step_rows: 200, ..LIMITS }, 4);
    let kept = scheduler.submit(arrival(62, 0, Priority::Routine), Duration::ZERO).unwrap();
    let gives_way = scheduler.submit(arrival(62, 1000, Priority::Routine), Duration::ZERO).unwrap();
    let mut preempted = Vec::new();
    for now in 0..4 {
        preempted.extend(step(&mut scheduler, now).preempted);
    }
    assert_eq!(preempted, [gives_way]);
    assert_eq!((scheduler.running(), scheduler.waiting(), scheduler.preemptions()), (1, 1, 1));
    scheduler.remove(kept);
    // Its first block was not needed by the other: it is found again.
    let plan = step(&mut scheduler, 5);
    assert_eq!(all_rows(&plan), [(gives_way.0, 32, 33)]);
}

#[test]
fn what_even_an_empty_store_cannot_hold_is_refused() {
    let mut scheduler = Scheduler::new(LIMITS, 2);
    let refused = scheduler.submit(arrival(57, 0, Priority::Urgent), Duration::ZERO);
    assert_eq!(refused, Err(TooLarge { tokens: 65, capacity: 64 }));
}
