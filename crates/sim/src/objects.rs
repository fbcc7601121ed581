//! What has to hold of stored objects at every revision: kept up with each change that the store tells.

use crate::checks::{BOUND, ROOM};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::{Changed, Entry, Record};

const PODS: &str = "/registry/pods/";
const NODES: &str = "/registry/minions/";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: client::Meta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Node {
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    allocatable: BTreeMap<String, String>,
}

/// See the file's head.
#[derive(Default)]
pub struct Objects {
    /// Node and whether it takes room there, by key.
    pods: BTreeMap<String, (String, bool)>,
    /// Room for pods, by node.
    rooms: BTreeMap<String, usize>,
    /// Nodes of pods by uid, also of those that are gone.
    bound: BTreeMap<String, String>,
    /// Kind of the owner of every pod there ever was, by uid, and whether it was deleted.
    made: BTreeMap<String, (String, bool)>,
    /// No faults any more.
    pub calm: bool,
}

fn pod(entry: &Entry) -> Option<Pod> {
    if !entry.key.starts_with(PODS) {
        return None;
    }
    serde_json::from_slice(&entry.value).ok()
}

/// Nodes of a pod before and after a change.
pub fn nodes(record: &Record) -> Vec<String> {
    [Some(&record.entry), record.prev.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(pod)
        .map(|p| p.spec.node_name)
        .collect()
}

impl Objects {
    /// Everything as it is at the beginning of the store's history.
    pub fn begin(&mut self, entries: &[Entry]) {
        self.pods.clear();
        self.rooms.clear();
        entries.iter().for_each(|e| drop(self.put(e)));
    }

    /// A change, and what is wrong with it.
    pub fn apply(&mut self, record: &Record) -> Vec<(&'static str, String)> {
        if record.change != Changed::Deleted {
            return self.put(&record.entry);
        }
        self.pods.remove(&*record.entry.key);
        if let Some(pod) = pod(&record.entry) {
            self.made.entry(pod.metadata.uid).or_default().1 = true;
        }
        Vec::new()
    }

    fn put(&mut self, entry: &Entry) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Some(name) = entry.key.strip_prefix(NODES) {
            let node: Node = serde_json::from_slice(&entry.value).unwrap_or_default();
            let room = node.status.allocatable.get("pods").and_then(|n| n.parse().ok());
            self.rooms.insert(name.into(), room.unwrap_or(usize::MAX));
        }
        let Some(pod) = pod(entry) else { return wrong };
        let (uid, node) = (&pod.metadata.uid, &pod.spec.node_name);
        let owner = pod.metadata.controller().map(|o| o.kind.clone()).unwrap_or_default();
        let made = self.made.entry(uid.clone()).or_default();
        made.0 = owner;
        made.1 |= pod.metadata.is_deleting();
        if !node.is_empty() {
            let before = self.bound.entry(uid.clone()).or_insert_with(|| node.clone());
            if before != node {
                wrong.push((BOUND, format!("{} was on {before} and is on {node}", entry.key)));
            }
        }
        let takes = !node.is_empty() && !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        let old = self.pods.insert(entry.key.to_string(), (node.clone(), takes));
        let arrives = takes && !old.is_some_and(|(n, took)| took && n == *node);
        let there = self.pods.values().filter(|(n, takes)| *takes && n == node).count();
        let room = self.rooms.get(node).copied().unwrap_or(usize::MAX);
        if self.calm && arrives && there > room {
            wrong.push((ROOM, format!("{} is number {there} on {node}, which has room for {room}", entry.key)));
        }
        wrong
    }

    /// How many pods an owner of this kind has got, and how many of them were deleted.
    pub fn count(&self, kind: &str) -> (usize, usize) {
        let mine = self.made.values().filter(|(k, _)| k == kind);
        (mine.clone().count(), mine.filter(|(_, deleted)| *deleted).count())
    }
}
