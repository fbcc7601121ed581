//! What this process uses, as the kernel counts it. Zero where the kernel does not say.

/// Use of resources.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all threads, user and system.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// This process' use. Source: proc(5).
pub fn usage() -> Usage {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64);
    Usage { open_files, ..of_stat(&stat) }
}

/// Reads `/proc/PID/stat`; times are in ticks of a hundredth of a second, memory in pages of 4 KiB.
fn of_stat(text: &str) -> Usage {
    // The command's name may hold anything but ends with the last parenthesis.
    let rest: Vec<&str> = text.rsplit_once(')').map_or("", |(_, r)| r).split_whitespace().collect();
    let number = |i: usize| rest.get(i).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    Usage { cpu_seconds: (number(11) + number(12)) as f64 / 100.0, resident_bytes: number(21) * 4096, open_files: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_name() {
        let text =
            "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 100 1000000 300 18446744073709551615";
        assert_eq!(of_stat(text), Usage { cpu_seconds: 3.0, resident_bytes: 300 * 4096, open_files: 0 });
        assert!(usage().resident_bytes > 0 && usage().open_files > 0);
    }
}
