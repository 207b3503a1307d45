//! The largest memory in use while something runs: on a card as its driver counts it, on the CPU as the kernel does.

#[cfg(feature = "cuda")]
pub(crate) use self::card::Watch;
#[cfg(not(feature = "cuda"))]
pub(crate) use self::host::Watch;

#[cfg(feature = "cuda")]
mod card {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use glm46v::DeviceChoice;
    use nvml_wrapper::Nvml;

    /// How often the driver is asked. Passes of the model last longer.
    const EVERY: Duration = Duration::from_millis(20);

    /// Samples until it is read.
    pub(crate) struct Watch {
        peak: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
        sampler: Option<JoinHandle<()>>,
    }

    impl Watch {
        /// Of the card, less what others hold on it now. `None` where the driver does not say, and for the CPU.
        pub(crate) fn start(device: DeviceChoice) -> Option<Self> {
            let DeviceChoice::Cuda(ordinal) = device else { return None };
            let ordinal = u32::try_from(ordinal).ok()?;
            let nvml = Nvml::init().ok()?;
            let before = nvml.device_by_index(ordinal).ok()?.memory_info().ok()?.used;
            let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let (seen, stopping) = (peak.clone(), stop.clone());
            let sample = move || {
                while !stopping.load(Ordering::Acquire) {
                    if let Ok(memory) = nvml.device_by_index(ordinal).and_then(|card| card.memory_info()) {
                        seen.fetch_max(memory.used.saturating_sub(before), Ordering::Relaxed);
                    }
                    std::thread::sleep(EVERY);
                }
            };
            let sampler = std::thread::Builder::new().name("memory".to_owned()).spawn(sample).ok()?;
            Some(Self { peak, stop, sampler: Some(sampler) })
        }

        /// The largest so far, in bytes.
        pub(crate) fn peak(&self) -> Option<u64> {
            Some(self.peak.load(Ordering::Relaxed)).filter(|peak| *peak > 0)
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Release);
            if let Some(sampler) = self.sampler.take() {
                // It holds nothing that a panic could leave half done.
                let _ = sampler.join();
            }
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod host {
    use glm46v::DeviceChoice;

    /// The kernel keeps the peak; nothing needs to run.
    pub(crate) struct Watch;

    impl Watch {
        #[expect(clippy::unnecessary_wraps, reason = "a card's may fail")]
        pub(crate) fn start(_: DeviceChoice) -> Option<Self> {
            Some(Self)
        }

        /// The process's largest resident set, in bytes.
        #[expect(clippy::unused_self, reason = "a card's has a thread")]
        pub(crate) fn peak(&self) -> Option<u64> {
            let status = std::fs::read_to_string("/proc/self/status").ok()?;
            let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            kilobytes.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kb| kb * 1024)
        }
    }
}
