//! Amounts of resources, and what a pod asks for. Source of the sums: `component-helpers/resource/helpers.go:PodRequests`.

use crate::views::{Container, PodSpec};
use api::quantity::Quantity;
use std::collections::BTreeMap;

/// What a container without a request is counted as when nodes are compared.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts: CPU in thousandths, the rest in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of local storage.
    pub storage: i64,
    /// Number of pods (of a node: how many it takes).
    pub pods: i64,
    /// Everything else.
    pub scalar: BTreeMap<String, i64>,
}

impl Amounts {
    /// From a map of quantities; what cannot be read counts as nothing.
    pub fn parse(map: &BTreeMap<String, String>) -> Amounts {
        let mut out = Amounts::default();
        for (name, text) in map {
            let Ok(quantity) = Quantity::parse(text) else { continue };
            match name.as_str() {
                "cpu" => out.milli_cpu = quantity.milli(),
                "memory" => out.memory = quantity.value(),
                "ephemeral-storage" => out.storage = quantity.value(),
                "pods" => out.pods = quantity.value(),
                _ => drop(out.scalar.insert(name.clone(), quantity.value())),
            }
        }
        out
    }

    fn each(&mut self, other: &Amounts, f: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = f(self.milli_cpu, other.milli_cpu);
        self.memory = f(self.memory, other.memory);
        self.storage = f(self.storage, other.storage);
        self.pods = f(self.pods, other.pods);
        for (name, amount) in &other.scalar {
            let mine = self.scalar.entry(name.clone()).or_insert(0);
            *mine = f(*mine, *amount);
        }
    }

    /// Adds.
    pub fn add(&mut self, other: &Amounts) {
        self.each(other, |a, b| a.saturating_add(b));
    }

    /// Takes away.
    pub fn sub(&mut self, other: &Amounts) {
        self.each(other, |a, b| a.saturating_sub(b));
    }

    fn raise(&mut self, other: &Amounts) {
        self.each(other, i64::max);
    }
}

/// What a pod asks for, and what it is counted as when nodes are compared.
pub fn requests(spec: &PodSpec) -> (Amounts, Amounts) {
    let exact = sum(spec, |c| Amounts::parse(&c.resources.requests));
    let counted = sum(spec, |c| {
        let mut amounts = Amounts::parse(&c.resources.requests);
        if !c.resources.requests.contains_key("cpu") {
            amounts.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !c.resources.requests.contains_key("memory") {
            amounts.memory = DEFAULT_MEMORY;
        }
        amounts
    });
    (exact, counted)
}

fn sum(spec: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    // Sidecars run beside everything that starts after them; other init containers run alone with the sidecars so far.
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in &spec.init_containers {
        let mut need = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&need);
            peak.raise(&sidecars);
        } else {
            need.add(&sidecars);
            peak.raise(&need);
        }
    }
    total.add(&sidecars);
    total.raise(&peak);
    // Requests of the pod as a whole take the place of its containers'.
    if let Some(resources) = &spec.resources {
        let whole = Amounts::parse(&resources.requests);
        if resources.requests.contains_key("cpu") {
            total.milli_cpu = whole.milli_cpu;
        }
        if resources.requests.contains_key("memory") {
            total.memory = whole.memory;
        }
    }
    total.add(&Amounts::parse(&spec.overhead));
    total.pods = 0;
    total
}
