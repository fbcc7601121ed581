//! What one object costs as a tree: ours against serde_json's, parse and write, on upstream's largest fixture.
//!
//!     cargo bench --package api

use std::hint::black_box;
use std::time::Instant;

fn time(what: &str, bytes: usize, mut f: impl FnMut()) {
    const ROUNDS: usize = 5;
    const TIMES: usize = 300;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..TIMES {
            f();
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / TIMES as f64);
    }
    println!("{what:<44} {best:>9.1} us  {:>7.0} MB/s", bytes as f64 / best);
}

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/roundtrip/core.v1.Pod.json");
    let pretty = std::fs::read(path).expect("the corpus is in the project");
    let tree = api::json::parse(&pretty).expect("JSON");
    let text = api::json::to_string(&tree).into_bytes();
    let n = text.len();
    println!("a Pod of {n} bytes");
    time("parse, ours", n, || drop(black_box(api::json::parse(black_box(&text)))));
    time("parse, serde_json", n, || drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(&text)))));
    let other: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    time("write, ours", n, || drop(black_box(api::json::to_string(black_box(&tree)))));
    time("write, serde_json", n, || drop(black_box(serde_json::to_string(black_box(&other)))));
    time("clone, ours", n, || drop(black_box(tree.clone())));
    let ty = api::schema::Type::of_kind("", "v1", "Pod").expect("a type");
    time("decode + canonicalize", n, || {
        let mut v = tree.clone();
        api::decode::decode(&mut v, ty, &mut api::decode::Notes::default()).expect("valid");
        api::canon::canonicalize(&mut v, ty);
        black_box(v);
    });
    time("to protobuf", n, || drop(black_box(api::proto::encode(black_box(&tree), ty))));
    let place = api::apply::set::Place::root(ty);
    time("field set", n, || drop(black_box(api::apply::walk::to_set(black_box(&tree), place))));
    time("compare with itself", n, || {
        drop(black_box(api::apply::walk::compare(black_box(&tree), black_box(&tree), place)))
    });
}
