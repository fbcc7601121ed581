//! Records from chunks.

use super::*;

fn run(chunks: &[&str]) -> String {
    let mut splitter = Splitter::default();
    let mut out = Vec::new();
    for chunk in chunks {
        splitter.push("T", "stdout", chunk.as_bytes(), &mut out);
    }
    splitter.finish("T", "stdout", &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn splits_lines() {
    for (chunks, want) in [
        (&["a\nb\n"][..], "T stdout F a\nT stdout F b\n"),
        (&["a", "b\n"], "T stdout F ab\n"),
        (&["no newline"], "T stdout F no newline\n"),
        (&["\n"], "T stdout F \n"),
        (&[""], ""),
    ] {
        assert_eq!(run(chunks), want);
    }
}

#[test]
fn cuts_long_lines() {
    let long = "x".repeat(MAX_LINE + 5);
    let out = run(&[&long, "\n"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), MAX_LINE + "T stdout P ".len());
    assert!(lines[0].starts_with("T stdout P "));
    assert_eq!(lines[1], "T stdout F xxxxx");
    // A line of exactly the limit is one full record.
    let exact = "y".repeat(MAX_LINE);
    assert!(run(&[&exact, "\n"]).starts_with("T stdout F y"));
}

#[test]
fn writes_times() {
    for (nanos, want) in [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_709_210_096_000_000_001, "2024-02-29T12:34:56.000000001Z"),
        (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999999Z"),
    ] {
        assert_eq!(rfc3339_nanos(nanos), want);
    }
}
