//! The card that the engine runs on, as NVIDIA's driver counts it: whatever else runs there is in these numbers too.

use std::collections::HashMap;

use nvml_wrapper::{
    Nvml,
    enum_wrappers::device::{EccCounter, MemoryError},
    error::NvmlError,
};
use prometheus::{
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use crate::pulled::{self, Label};

/// Why a card cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The driver's library is not there, or knows no such card.
    #[error("the driver does not tell about card {ordinal}")]
    Driver {
        /// The card's number.
        ordinal: u32,
        /// What it says.
        source: NvmlError,
    },
    /// A family is declared already.
    #[error("metrics of the card cannot be declared")]
    Metrics(#[from] prometheus::Error),
}

/// Declares the families of card `ordinal`, counted as the driver counts.
pub fn register(registry: &prometheus::Registry, ordinal: u32) -> Result<(), GpuError> {
    let driver = |source| GpuError::Driver { ordinal, source };
    let nvml = Nvml::init().map_err(driver)?;
    nvml.device_by_index(ordinal).and_then(|card| card.memory_info()).map_err(driver)?;
    let describe = |family: &Family| {
        let labels = family.label.map(|(name, _)| name.to_owned()).into_iter().collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
    };
    let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
    registry.register(Box::new(Card { nvml, ordinal, descriptions }))?;
    Ok(())
}

struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    label: Option<Label>,
    read: fn(&nvml_wrapper::Device<'_>) -> Result<f64, NvmlError>,
}

const FAMILIES: [Family; 5] = [
    Family {
        name: "prescreen_gpu_memory_used_bytes",
        help: "Memory of the card in use, by whatever process.",
        kind: MetricType::GAUGE,
        label: None,
        read: |card| card.memory_info().map(|memory| memory.used as f64),
    },
    Family {
        name: "prescreen_gpu_memory_total_bytes",
        help: "Memory that the card has.",
        kind: MetricType::GAUGE,
        label: None,
        read: |card| card.memory_info().map(|memory| memory.total as f64),
    },
    Family {
        name: "prescreen_gpu_utilization_ratio",
        help: "Share of the driver's last sampling period in which something ran on the card.",
        kind: MetricType::GAUGE,
        label: None,
        read: |card| card.utilization_rates().map(|rates| f64::from(rates.gpu) / 100.0),
    },
    Family {
        name: "prescreen_gpu_power_watts",
        help: "Power that the card draws.",
        kind: MetricType::GAUGE,
        label: None,
        read: |card| card.power_usage().map(|milliwatts| f64::from(milliwatts) / 1e3),
    },
    Family {
        name: "prescreen_gpu_errors_total",
        help: "Errors of the card's memory that could not be corrected, since the driver was loaded.",
        kind: MetricType::COUNTER,
        label: Some(("kind", "ecc")),
        read: |card| {
            card.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).map(|errors| errors as f64)
        },
    },
];

struct Card {
    nvml: Nvml,
    ordinal: u32,
    descriptions: Vec<Desc>,
}

impl Collector for Card {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    /// What the driver does not tell for this card is left out.
    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(card) = self.nvml.device_by_index(self.ordinal) else { return Vec::new() };
        let read = |Family { name, help, kind, label, read }: &Family| {
            let value = read(&card).ok()?;
            Some(pulled::family((name, help, *kind), std::iter::once((*label, value))))
        };
        FAMILIES.iter().filter_map(read).collect()
    }
}
