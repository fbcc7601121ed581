//! Two plugins as shell scripts that write down how they were called.

use super::*;
use crate::cni::PortMapping;

fn plugin(dir: &Path, name: &str, answer: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    let log = dir.join("log");
    let script = format!(
        "#!/bin/sh\necho \"{name} $CNI_COMMAND $CNI_IFNAME $CNI_CONTAINERID\" >> {log}\ncat >> {log}\necho >> {log}\n\
         if [ \"$CNI_COMMAND\" = ADD ]; then {answer}; fi\n",
        log = log.display()
    );
    fs::write(&path, script).expect("script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
}

fn bench(name: &str, second: &str) -> (PathBuf, ExecCni) {
    let dir = std::env::temp_dir().join(format!("corten-cni-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("conf")).expect("dir");
    plugin(&dir, "one", r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'"#);
    plugin(&dir, "two", second);
    let list = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"one"},{"type":"two","capabilities":{"portMappings":true}}]}"#;
    fs::write(dir.join("conf/10.conflist"), list).expect("list");
    let cni = ExecCni { conf_dir: dir.join("conf"), bin_dirs: vec![dir.clone()], cache_dir: dir.join("cache") };
    (dir, cni)
}

fn request() -> CniRequest {
    let port = PortMapping { host_port: 80, container_port: 8080, protocol: "tcp", host_ip: None };
    CniRequest {
        container_id: "c1".into(),
        interface: "eth0".into(),
        netns: Some("/run/ns".into()),
        port_mappings: vec![port],
        ..CniRequest::default()
    }
}

#[tokio::test]
async fn runs_the_list_in_order_and_back() {
    let (dir, cni) = bench("list", "echo '{\"ips\":[{\"address\":\"10.1.2.3/24\"},{\"address\":\"fd00::3/64\"}]}'");
    let result = cni.add(&request()).await.expect("add");
    let ips: Vec<String> = result.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.1.2.3", "fd00::3"]);
    cni.del(&request()).await.expect("del");
    let log = fs::read_to_string(dir.join("log")).expect("log");
    let calls: Vec<&str> = log.lines().filter(|l| l.starts_with("one ") || l.starts_with("two ")).collect();
    assert_eq!(calls, ["one ADD eth0 c1", "two ADD eth0 c1", "two DEL eth0 c1", "one DEL eth0 c1"]);
    assert!(
        log.contains(r#""prevResult":{"cniVersion":"1.0.0","ips""#)
            && log.contains(r#""hostPort":80"#)
            && !log.contains("capabilities"),
        "{log}"
    );
    fs::remove_dir_all(&dir).expect("clean up");
}

#[tokio::test]
async fn a_failed_add_is_undone_and_told() {
    let (dir, cni) = bench("fail", r#"echo '{"code":11,"msg":"no address left"}'; exit 1"#);
    let error = cni.add(&request()).await.expect_err("must fail");
    assert!(error.contains("no address left") && error.contains("two"), "{error}");
    assert!(fs::read_to_string(dir.join("log")).expect("log").contains("one DEL"));
    fs::remove_dir_all(&dir).expect("clean up");
    assert!(cni.status().await.is_err());
}
