//! The stages of one arm, one after the other, from the catalogue.

use std::{collections::BTreeMap, sync::Arc};

use replay::plan::StagePins;
use runtime::{Answer, Given, OfflineParts, OfflineStage, RetryPolicy, Trouble};
use schemas::Digest;
use stage::{Blobs, Frames, Services, Stage, Visitor};
use toml::{Table, Value};

use crate::{
    config::Config,
    exit::Failure,
    system::{Tables, resolved_table, stage_config},
};

/// One stage, whatever its types.
pub(super) trait Step {
    fn name(&self) -> &'static str;
    fn answer(&mut self, given: Given<'_>) -> Result<Answer, Trouble>;
}

impl<S: Stage> Step for OfflineStage<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn answer(&mut self, given: Given<'_>) -> Result<Answer, Trouble> {
        OfflineStage::answer(self, given)
    }
}

/// What the stages of an arm share.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) services: Services,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) frames: Arc<dyn Frames>,
    pub(super) retry: RetryPolicy,
}

/// The stages of one arm, and what decides their answers.
pub(super) struct Chain {
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) pins: BTreeMap<String, StagePins>,
}

impl Chain {
    /// The stages of `config` from `start` to the end of the catalogue.
    pub(super) fn build(config: &Config, start: &str, outside: Outside) -> Result<Self, Failure> {
        let mut build = Build {
            start,
            tables: config.stages.clone(),
            outside,
            chain: Self { steps: Vec::new(), pins: BTreeMap::new() },
            failed: None,
        };
        stages::visit(&mut build);
        match build.failed {
            Some(failure) => Err(failure),
            None => Ok(build.chain),
        }
    }
}

struct Build<'a> {
    start: &'a str,
    tables: Tables,
    outside: Outside,
    chain: Chain,
    failed: Option<Failure>,
}

impl Visitor for Build<'_> {
    fn stage<S: Stage>(&mut self) {
        let begun = !self.chain.steps.is_empty() || S::NAME == self.start;
        if begun && self.failed.is_none() {
            self.failed = self.add::<S>().err();
        }
    }
}

impl Build<'_> {
    fn add<S: Stage>(&mut self) -> Result<(), Failure> {
        let table = resolved_table::<S>(&mut self.tables.clone())?;
        let Outside { services, blobs, frames, retry } = self.outside.clone();
        let config = stage_config::<S>(&mut self.tables)?;
        let stage = OfflineStage::<S>::build(OfflineParts { config, services, blobs, frames, retry })
            .map_err(|error| Failure::usage(format!("stages.{}.{error}", S::NAME)))?;
        let pins = StagePins { table_sha256: digest(&table)?, prompts: prompts(&table) };
        self.chain.pins.insert(S::NAME.to_owned(), pins);
        self.chain.steps.push(Box::new(stage));
        Ok(())
    }
}

fn digest(table: &Table) -> Result<Digest, Failure> {
    Ok(replay::plan::canonical_sha256(&serde_json::to_value(table)?))
}

/// The texts of a stage's prompts, by key.
fn prompts(table: &Table) -> BTreeMap<String, Digest> {
    let Some(Value::Table(prompts)) = table.get("prompts") else { return BTreeMap::new() };
    let text = |prompt: &Value| Some(Digest::of(prompt.get("text")?.as_str()?.as_bytes()));
    prompts.iter().filter_map(|(key, prompt)| Some((key.clone(), text(prompt)?))).collect()
}
