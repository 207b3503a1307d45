//! The engine's own numbers, read when somebody scrapes.

use glm46v::{EngineHandle, EngineLoad};
use prometheus::{
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use crate::pulled;

/// One sample: its label's value, if the family has a label, and the number.
type Samples = &'static [(Option<&'static str>, fn(&EngineLoad) -> u64)];

struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    label: Option<&'static str>,
    samples: Samples,
}

const FAMILIES: [Family; 10] = [
    Family {
        name: "prescreen_inference_requests_running",
        help: "Requests that the engine works on (vllm:num_requests_running).",
        kind: MetricType::GAUGE,
        label: None,
        samples: &[(None, |load| load.running)],
    },
    Family {
        name: "prescreen_inference_requests_waiting",
        help: "Requests that wait for the engine (vllm:num_requests_waiting).",
        kind: MetricType::GAUGE,
        label: None,
        samples: &[(None, |load| load.waiting)],
    },
    Family {
        name: "prescreen_inference_kv_blocks_used",
        help: "Blocks of the key-value store in use (with kv_blocks_total: vllm:kv_cache_usage_perc).",
        kind: MetricType::GAUGE,
        label: None,
        samples: &[(None, |load| load.kv_blocks_used)],
    },
    Family {
        // Prometheus keeps `_total` for counters; peers call this one `kv_blocks_total`.
        name: "prescreen_inference_kv_blocks",
        help: "Blocks that the key-value store has.",
        kind: MetricType::GAUGE,
        label: None,
        samples: &[(None, |load| load.kv_blocks)],
    },
    Family {
        name: "prescreen_inference_preemptions_total",
        help: "Times a running request gave way to another (vllm:num_preemptions_total).",
        kind: MetricType::COUNTER,
        label: None,
        samples: &[(None, |load| load.preemptions)],
    },
    Family {
        name: "prescreen_inference_prompt_tokens_total",
        help: "Tokens of prompts (vllm:prompt_tokens_total): computed, or cached because another request had computed them.",
        kind: MetricType::COUNTER,
        label: Some("kind"),
        samples: &[
            (Some("cached"), |load| load.cached_tokens),
            (Some("computed"), |load| load.prompt_tokens.saturating_sub(load.cached_tokens)),
        ],
    },
    Family {
        name: "prescreen_inference_generated_tokens_total",
        help: "Tokens generated (vllm:generation_tokens_total).",
        kind: MetricType::COUNTER,
        label: None,
        samples: &[(None, |load| load.generated_tokens)],
    },
    Family {
        name: "prescreen_inference_pictures_total",
        help: "Pictures for the vision tower: computed, or cached because they were seen lately.",
        kind: MetricType::COUNTER,
        label: Some("kind"),
        samples: &[(Some("cached"), |load| load.cached_pictures), (Some("computed"), |load| load.pictures)],
    },
    Family {
        name: "prescreen_inference_steps_total",
        help: "Steps of the language model.",
        kind: MetricType::COUNTER,
        label: None,
        samples: &[(None, |load| load.steps)],
    },
    Family {
        name: "prescreen_inference_step_rows_total",
        help: "Rows of all steps; over steps_total: the batch that the engine runs.",
        kind: MetricType::COUNTER,
        label: None,
        samples: &[(None, |load| load.rows)],
    },
];

/// The load of an engine as metrics.
pub(crate) struct Load {
    engine: EngineHandle,
    descriptions: Vec<Desc>,
}

impl Load {
    pub(crate) fn of(engine: EngineHandle) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            let labels = family.label.map(str::to_owned).into_iter().collect();
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { engine, descriptions })
    }
}

impl Collector for Load {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let load = self.engine.load();
        let read = |Family { name, help, kind, label, samples }: &Family| {
            let samples = samples.iter().map(|(value, number)| (label.zip(*value), number(&load) as f64));
            pulled::family((name, help, *kind), samples)
        };
        FAMILIES.iter().map(read).collect()
    }
}
