//! The contract suite and the comparison with the model, over the engine in memory.
use super::*;
use crate::suite;

#[tokio::test]
async fn memory_keeps_the_contract() {
    suite::contract(&|| Box::pin(async { Memory::new() })).await;
}

#[tokio::test]
async fn memory_equals_the_model() {
    for seed in 0..30 {
        let store = Memory::new();
        let mut walk = suite::Walk::new(seed);
        walk.steps(&*store, 120).await;
        walk.compare(&*store).await;
    }
}
