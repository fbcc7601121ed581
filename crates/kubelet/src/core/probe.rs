//! Probes without I/O: which should run, and when enough results have come in a row.

use super::machine::ProbeKind;
use super::pod::{Container, Probe};

/// A probe that should be running.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub container: String,
    pub id: String,
    pub kind: ProbeKind,
    pub probe: Probe,
}

/// The probes of a running container: the startup probe alone until it has passed, then the others. `living` is false
/// when the pod is ending: then only readiness goes on.
pub fn wanted(c: &Container, id: &str, started: bool, living: bool) -> Vec<Wanted> {
    let list = [
        (ProbeKind::Startup, &c.startup_probe, !started && living),
        (ProbeKind::Liveness, &c.liveness_probe, started && living),
        (ProbeKind::Readiness, &c.readiness_probe, started),
    ];
    let wanted = list.into_iter().filter(|(_, _, on)| *on);
    wanted
        .filter_map(|(kind, probe, _)| {
            let probe = probe.clone()?;
            Some(Wanted { container: c.name.clone(), id: id.to_string(), kind, probe })
        })
        .collect()
}

/// Counts results.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    last: Option<bool>,
    run: i64,
    told: Option<bool>,
}

impl Counter {
    /// A new result; answers the verdict when it is new. A failed liveness or startup verdict is told every time it is
    /// reached again.
    pub fn add(&mut self, probe: &Probe, passed: bool) -> Option<bool> {
        if self.last == Some(passed) {
            self.run += 1;
        } else {
            (self.last, self.run) = (Some(passed), 1);
        }
        let threshold = if passed { probe.success_threshold.max(1) } else { probe.failure_threshold.max(1) };
        if self.run < threshold || self.told == Some(passed) {
            return None;
        }
        self.told = Some(passed);
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_to_thresholds() {
        let probe = Probe { success_threshold: 1, failure_threshold: 3, ..Probe::default() };
        let mut counter = Counter::default();
        let told: Vec<_> =
            [false, false, true, false, false, false, false, true].map(|r| counter.add(&probe, r)).to_vec();
        assert_eq!(told, [None, None, Some(true), None, None, Some(false), None, Some(true)]);
    }
}
