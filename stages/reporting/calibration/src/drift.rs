//! Whether the studies of today are still those of the calibration.
//!
//! ```text
//!   reports, one by one ─▶ Monitor ─▶ Levels: PSI, KS (last 500 reports), martingale (runs of 1,000) ─▶ alarms
//! ```

mod kolmogorov;
mod martingale;
mod monitor;
mod population;

pub use kolmogorov::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use martingale::{ALARM_CAPITAL, Bag, Martingale};
pub use monitor::{
    Feature, FeatureLevels, KS_ALARM, LEAST_WINDOW, Levels, Monitor, Observation, PSI_ALARM, PSI_WATCH, RUN,
    Reference, WINDOW,
};
pub use population::{deciles, population_stability, population_stability_of_shares, shares};
