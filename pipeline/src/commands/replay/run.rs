//! `replay run`: does a plan, step by step, and sends each step's row to the running system.
//!
//! ```text
//!   for each study:  live system in time? ── no ──▶ wait ── too long ──▶ exit 3, to be resumed
//!                     │ yes, and the rate allows it
//!                     ▼
//!              for each arm:  step ─▶ row ─▶ step ─▶ row ─▶ …       a row that is stored is not done again
//! ```
//!
//! Invariants:
//! - A step is done when its row is stored. Killed at any moment, the run goes on behind the last stored row of each arm and
//!   study, with the stored output as the next step's input.
//! - Every input is held against the plan before anything begins, and again when its turn comes.
//! - An input that fails is a row; only what fails for everybody ends the run.

mod rows;
mod waiting;

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use console::site::{BeginReplay, EndReplay, ReplayState};
use replay::{
    pace::{Pace, Way, Yielding},
    plan::{Input, Place, Plan, canonical_sha256},
    result::{Arm, Ended, ModelUse, StageResult},
};
use runtime::{
    Answer, Given, Trouble,
    bounded::{BoundedReader, PartitionRange, TopicRange},
};
use schemas::{Envelope, EventId, RunId, event_id};
use serde_json::{Value, json};

use super::{
    broker,
    input::{self, InputError},
    say,
    workshop::{ArmAtWork, Workshop, share_a_model},
};
use crate::{
    api_client::ApiClient,
    cli::{Options, ReplayRun},
    config::{Config, promoted},
    exit::{Exit, Failure},
    system::check_stages,
};
use rows::{Done, Stored};
use waiting::Patience;

/// How often the live system is looked at while it is waited for.
const LOOK: Duration = Duration::from_secs(2);
/// How much less than live work the scheduler gives us.
const NICE: i32 = 10;

pub(super) fn run(arguments: &ReplayRun, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let text = fs::read_to_string(&arguments.plan)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", arguments.plan.display())))?;
    let plan = Plan::read(&text).map_err(Failure::usage)?;
    let [start, ..] = plan.stages.as_slice() else { return Err(Failure::usage("the plan has no stage")) };
    let overlay = promoted::judged_text(&arguments.plan, &plan.overlay).map_err(Failure::usage)?;
    let candidate = config.with(overlay).map_err(Failure::usage)?;
    check_stages(&candidate)?;
    // Best effort: without the right to it, the pace below is what protects the live system.
    let _ = rustix::process::nice(NICE);

    let api = ApiClient::connect(options, &config.data_dir)?;
    let reader = BoundedReader::connect(&broker(config)?)?;
    let workshop = Workshop::open(config)?;
    let known = api.replay(&arguments.run_id)?;
    if known.is_some_and(|run| run.state == ReplayState::Finished && run.plan_sha256 == plan.sha256()) {
        say(&format!("run {} is finished already", arguments.run_id));
        return finish(&arguments.run_id, &Totals::default(), options);
    }
    say(&format!("checking {} inputs", plan.inputs.len()));
    verify(&plan, &reader, &workshop)?;

    // With one model the arms take turns, so that both meet the same load; with two, one is loaded after the other.
    let both = [(Arm::Baseline, config), (Arm::Candidate, &candidate)];
    let arms: Vec<(Arm, &Config)> =
        both.into_iter().filter(|(arm, _)| *arm == Arm::Candidate || arguments.repeat_baseline).collect();
    let passes: Vec<Vec<(Arm, &Config)>> = if share_a_model(config, &candidate) {
        vec![arms.clone()]
    } else {
        arms.iter().map(|arm| vec![*arm]).collect()
    };
    let begin = BeginReplay {
        run_id: arguments.run_id.clone(),
        plan: plan.to_text(),
        studies: plan.inputs.len() as i64,
        expected: (plan.inputs.len() * arms.len() * plan.stages.len()) as i64,
        started_by: arguments.by.clone(),
    };
    let patience = config.replay.give_up_after.0;
    let mut work = Work {
        plan: &plan,
        run: &arguments.run_id,
        api: &api,
        reader: &reader,
        workshop: &workshop,
        pace: Pace::new(arguments.rate),
        yielding: Yielding::new(config.replay.live_oldest_age.0, patience),
        patience,
        begun: false,
        done: Done::default(),
        totals: Totals::default(),
    };
    if let Err(failure) = work.passes(passes, start, &begin) {
        if work.begun {
            let failed = EndReplay { state: ReplayState::Failed, failure: Some(failure.error.to_string()) };
            // Where even that cannot be told, the run stands as running and is taken up all the same.
            let _ = api.end_replay(&arguments.run_id, &failed);
        }
        return Err(failure);
    }
    finish(&arguments.run_id, &work.totals, options)
}

/// What this process did.
#[derive(Debug, Default)]
struct Totals {
    rows: u64,
    taken_up: u64,
    failed: u64,
    model: ModelUse,
}

fn finish(run: &RunId, totals: &Totals, options: &Options) -> Result<Exit, Failure> {
    let Totals { rows, taken_up, failed, model } = totals;
    let mut out = std::io::stdout().lock();
    if options.json {
        let summary = json!({ "run_id": run, "rows": rows, "taken_up": taken_up, "failed": failed, "model": model, "memo_hits": 0 });
        writeln!(out, "{summary:#}")?;
    } else {
        writeln!(
            out,
            "run {run} is finished: {rows} rows, {taken_up} steps done before, {failed} failed; {} requests to the model, 0 from the memo",
            model.requests
        )?;
    }
    Ok(Exit::Done)
}

/// Holds every input against the plan.
fn verify(plan: &Plan, reader: &BoundedReader, workshop: &Workshop) -> Result<(), InputError> {
    let mut open: HashMap<&Place, &Input> = plan.inputs.iter().map(|input| (&input.place, input)).collect();
    for topic in &plan.topics {
        let range = TopicRange {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|range| PartitionRange {
                    partition: range.partition,
                    start: range.start,
                    end: range.end,
                })
                .collect(),
        };
        reader.read(&range, |record| {
            let place =
                Place { topic: record.topic.to_string(), partition: record.partition, offset: record.offset };
            match open.remove(&place) {
                Some(input) => {
                    input::check_blobs(&workshop.blobs, input)?;
                    input::checked(record, &workshop.blobs, input).map(drop)
                }
                None => Ok(()),
            }
        })?;
    }
    match plan.inputs.iter().find(|input| open.contains_key(&input.place)) {
        Some(gone) => Err(InputError::Gone { place: gone.place.clone() }),
        None => Ok(()),
    }
}

/// A run at work.
struct Work<'a> {
    plan: &'a Plan,
    run: &'a RunId,
    api: &'a ApiClient,
    reader: &'a BoundedReader,
    workshop: &'a Workshop,
    pace: Pace,
    yielding: Yielding,
    patience: Duration,
    begun: bool,
    done: Done,
    totals: Totals,
}

impl Work<'_> {
    /// Each pass loads one model and does every study in the arms that ask it. Nothing is begun before the first pass's pins
    /// hold.
    fn passes(
        &mut self,
        passes: Vec<Vec<(Arm, &Config)>>,
        start: &str,
        begin: &BeginReplay,
    ) -> Result<(), Failure> {
        for pass in passes {
            let Some((_, config)) = pass.first() else { continue };
            say("loading the model");
            let model = self.workshop.load(config)?;
            let mut arms = Vec::new();
            for (arm, config) in pass {
                let at_work = self.workshop.arm(arm, config, start, &model)?;
                match arm {
                    Arm::Candidate => self.plan.candidate.check("candidate", &at_work.pins)?,
                    Arm::Baseline | Arm::Live => self.plan.baseline.check("baseline", &at_work.pins)?,
                }
                arms.push(at_work);
            }
            if !self.begun {
                self.api.begin_replay(begin)?;
                self.begun = true;
                self.done = Done::ask(self.api, self.run, &self.plan.stages)?;
            }
            self.studies(&mut arms)?;
        }
        let finished = EndReplay { state: ReplayState::Finished, failure: None };
        waiting::insist(self.patience, "the end of the run", || self.api.end_replay(self.run, &finished))
    }

    /// Every study of the plan in each of `arms`. Whichever arm goes first meets colder caches: they take turns.
    fn studies(&mut self, arms: &mut [ArmAtWork]) -> Result<(), Failure> {
        let (plan, all) = (self.plan, self.plan.inputs.len());
        for (index, input) in plan.inputs.iter().enumerate() {
            if arms.iter().all(|arm| self.done.is_through(arm.arm, input)) {
                self.totals.taken_up +=
                    arms.iter().map(|arm| self.done.steps(arm.arm, input) as u64).sum::<u64>();
                continue;
            }
            self.make_way()?;
            std::thread::sleep(self.pace.wait(Instant::now()));
            let record = input::read(self.reader, &self.workshop.blobs, input)?;
            let envelope = Envelope::from_headers(record.headers.iter())?;
            let mut turns: Vec<&mut ArmAtWork> = arms.iter_mut().collect();
            if index % 2 == 1 {
                turns.reverse();
            }
            for arm in turns {
                self.study(arm, input, Given::Record(&record), envelope.time)?;
            }
            say(&format!("{} of {all} studies", index + 1));
        }
        Ok(())
    }

    /// Waits until the live system is in time.
    fn make_way(&mut self) -> Result<(), Failure> {
        let mut told = false;
        loop {
            match self.yielding.look(waiting::oldest(self.api), Instant::now()) {
                Way::Free => return Ok(()),
                Way::Blocked => {
                    if !told {
                        say(
                            "waiting: the live system is behind its objective (replay.live_oldest_age), or does not say",
                        );
                        told = true;
                    }
                    std::thread::sleep(LOOK);
                }
                Way::GiveUp { waited } => {
                    return Err(Failure::from(format!(
                        "the live system has been behind its objective for {}s (replay.give_up_after); run the same command \
                         again later, it goes on where it stopped",
                        waited.as_secs()
                    )));
                }
            }
        }
    }

    /// One study through the stages of one arm.
    fn study(
        &mut self,
        arm: &mut ArmAtWork,
        input: &Input,
        first: Given<'_>,
        time: jiff::Timestamp,
    ) -> Result<(), Failure> {
        let mut event = input.event_id;
        // What the step before has emitted; the record itself for the first one.
        let mut emitted: Option<Vec<u8>> = None;
        for index in 0..arm.chain.steps.len() {
            let Some(step) = arm.chain.steps.get(index).map(|step| step.name()) else { break };
            if let Some(stored) = self.done.stored(arm.arm, input, step) {
                self.totals.taken_up += 1;
                match stored {
                    Stored::WentOn(output) => emitted = Some(serde_json::to_vec(output)?),
                    Stored::Ended => return Ok(()),
                }
            } else {
                let given = emitted.as_deref().map_or(first, |payload| Given::Message { payload, time });
                let (answer, seconds, model) = self.answer(arm, index, given)?;
                let (ended, output, next) = told(answer)?;
                let row = Self::row(arm.arm, input, step, event, (ended, output));
                self.keep(StageResult { seconds: Some(seconds), model: Some(model), ..row })?;
                match next {
                    Some(payload) => emitted = Some(payload),
                    None => return Ok(()),
                }
            }
            event = event_id(self.run, step, &[&event.to_string()]);
        }
        Ok(())
    }

    fn row(
        arm: Arm,
        input: &Input,
        stage: &str,
        input_event: EventId,
        (ended, output): (Ended, Value),
    ) -> StageResult {
        StageResult {
            arm,
            study_uid: input.study_uid.clone(),
            revision: input.revision,
            stage: stage.to_owned(),
            input_event,
            ended,
            output_sha256: canonical_sha256(&output),
            output,
            seconds: None,
            model: None,
            // Nothing here can answer from a memo: `step::WithoutMemo`.
            memo_hits: 0,
        }
    }

    /// One step, waited for while something it depends on is down. The time is that of the try that worked.
    fn answer(
        &self,
        arm: &mut ArmAtWork,
        index: usize,
        given: Given<'_>,
    ) -> Result<(Answer, f64, ModelUse), Failure> {
        let mut patience = Patience::new(self.patience);
        loop {
            let _ = arm.counted.take();
            let started = Instant::now();
            let Some(step) = arm.chain.steps.get_mut(index) else { return Err("a stage is gone".into()) };
            match step.answer(given) {
                Ok(answer) => return Ok((answer, started.elapsed().as_secs_f64(), arm.counted.take())),
                Err(trouble @ Trouble::Fatal { .. }) => return Err(trouble.into()),
                Err(trouble @ Trouble::Dependency { .. }) => patience.wait(&trouble.to_string())?,
            }
        }
    }

    fn keep(&mut self, row: StageResult) -> Result<(), Failure> {
        waiting::insist(self.patience, "a row", || {
            self.api.keep_results(self.run, std::slice::from_ref(&row))
        })?;
        self.totals.rows += 1;
        self.totals.failed += u64::from(row.ended == Ended::Failed);
        let model = row.model.unwrap_or_default();
        let totals = &mut self.totals.model;
        totals.requests += model.requests;
        totals.prompt_tokens += model.prompt_tokens;
        totals.vision_tokens += model.vision_tokens;
        totals.generated_tokens += model.generated_tokens;
        Ok(())
    }
}

/// How a step ended, what its row holds, and what the next step is given.
fn told(answer: Answer) -> Result<(Ended, Value, Option<Vec<u8>>), Failure> {
    Ok(match answer {
        Answer::Emitted(payload) => (Ended::Emitted, serde_json::from_slice(&payload)?, Some(payload)),
        Answer::Rejected(rejection) => (Ended::Rejected, serde_json::to_value(rejection)?, None),
        Answer::Dead { cause, detail } => {
            (Ended::Failed, json!({ "cause": cause.as_str(), "detail": detail }), None)
        }
    })
}
