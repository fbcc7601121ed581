//! The committed tables are those that the facts give.

#[test]
fn generated_files_are_fresh() {
    for (path, text) in super::generate().expect("facts are readable") {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is stale: run `cargo xtask codegen`", path.display());
    }
}
