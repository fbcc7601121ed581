//! Some seeds at every test run, and seeds that found something.
use super::run;

fn check(seed: u64) {
    let first = run(seed, false);
    assert!(first.failures.is_empty(), "seed {seed}: {:#?}\n{}", first.failures, first.tail.join("\n"));
    assert_eq!(first.hash, run(seed, false).hash, "seed {seed} gives two traces");
}

#[test]
fn a_few_seeds() {
    (0..4).for_each(check);
}

/// Seeds that found a bug, and which.
const FOUND: &[(u64, &str)] = &[
    (8, "the kubelet did not tell its status again after the node controller had marked the pod as not ready"),
    (13, "the same; and a pod kept the address of an earlier sandbox beside the new one"),
    (
        22,
        "discovery left out a group that did not answer: the collector never learned of it (and a namespace went away with what was in it)",
    ),
    (200, "a job's pod that was deleted before its end kept its finalizer for ever"),
];

#[test]
fn seeds_that_found_something() {
    FOUND.iter().for_each(|(seed, _)| check(*seed));
}
