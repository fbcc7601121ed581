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
