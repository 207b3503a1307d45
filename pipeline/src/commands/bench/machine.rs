//! The machine, as far as it says what it is.

use std::fmt;

use serde::Serialize;

/// What a number was measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// As `/proc/cpuinfo` names it.
    cpu: String,
    /// That this process may use.
    cores: usize,
    /// Main memory in bytes.
    memory_bytes: Option<u64>,
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Self {
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
        let memory =
            field("/proc/meminfo", "MemTotal").and_then(|text| text.strip_suffix("kB")?.trim().parse().ok());
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.map(|kib: u64| kib * 1024),
        }
    }
}

/// Processes that wanted a core over the last minute, as `/proc/loadavg` says.
pub(super) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The first `name: value` of a file of the kernel.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores", self.cpu, self.cores)?;
        match self.memory_bytes {
            Some(bytes) => write!(f, ", {:.1} GiB", bytes as f64 / f64::from(1 << 30)),
            None => Ok(()),
        }
    }
}
