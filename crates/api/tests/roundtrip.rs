//! Every kind of upstream's round-trip fixtures, in JSON, YAML and protobuf, byte for byte.

use api::schema::Type;
use api::{Value, canon, decode, json, proto, yaml};
use std::path::{Path, PathBuf};

fn fixtures() -> Vec<(PathBuf, &'static Type, String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/roundtrip");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("the corpus is in the project") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let v = json::parse(&std::fs::read(&path).expect("readable")).expect("JSON");
        let (api_version, kind) = (v.at("apiVersion").str().to_string(), v.at("kind").str().to_string());
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let ty =
            Type::of_kind(group, version, &kind).unwrap_or_else(|| panic!("{api_version} {kind} is in the type table"));
        out.push((path, ty, api_version, kind));
    }
    assert!(out.len() > 60, "found {} fixtures", out.len());
    out
}

fn load(path: &Path) -> Value {
    json::parse(&std::fs::read(path).expect("readable")).expect("JSON")
}

fn canonical(mut v: Value, ty: &'static Type, what: &Path) -> Value {
    let mut notes = decode::Notes::default();
    decode::decode(&mut v, ty, &mut notes).unwrap_or_else(|e| panic!("{}: {e}", what.display()));
    assert_eq!(notes.strict, [""; 0], "{}", what.display());
    canon::canonicalize(&mut v, ty);
    v
}

#[test]
fn json_is_a_fixed_point() {
    for (path, ty, ..) in fixtures() {
        let source = load(&path);
        let v = canonical(source.clone(), ty, &path);
        assert_eq!(json::to_string(&v), json::to_string(&source), "{}", path.display());
        let again = canonical(v.clone(), ty, &path);
        assert_eq!(json::to_string(&again), json::to_string(&v));
    }
}

#[test]
fn yaml_says_the_same() {
    for (path, ty, ..) in fixtures() {
        let text = std::fs::read_to_string(path.with_extension("yaml")).expect("readable");
        let v = canonical(yaml::parse(&text).expect("YAML"), ty, &path);
        assert_eq!(json::to_string(&v), json::to_string(&load(&path)), "{}", path.display());
        assert_eq!(yaml::to_string(&v), text, "{}", path.display());
    }
}

#[test]
fn protobuf_is_byte_equal_both_ways() {
    let mut failed = Vec::new();
    for (path, ty, api_version, kind) in fixtures() {
        let bytes = std::fs::read(path.with_extension("pb")).expect("readable");
        let mut v = canonical(load(&path), ty, &path);
        let ours = proto::envelope(&api_version, &kind, &proto::encode(&v, ty));
        if ours != bytes {
            let at = ours.iter().zip(&bytes).position(|(a, b)| a != b);
            failed.push(format!(
                "{} encodes differently at {at:?} ({} / {} bytes)",
                path.display(),
                ours.len(),
                bytes.len()
            ));
        }
        let (_, _, raw) = proto::open(&bytes).expect("an envelope");
        let mut back = proto::decode(raw, ty).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        canon::canonicalize(&mut back, ty);
        v.remove("kind");
        v.remove("apiVersion");
        if json::to_string(&back) != json::to_string(&v) {
            failed.push(format!(
                "{} decodes differently:\n {}\n {}",
                path.display(),
                json::to_string(&back),
                json::to_string(&v)
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
