//! The kubelet with real containers and an API in memory. Needs root and busybox-static: `CORTEN_ROOT_TESTS=1`.
//!
//! The binary is its own shim. The pod network is loopback: what needs addresses is tested with the whole cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::fake::FakeApi;
use client::{At, Client, DeleteOptions, PatchKind, resources};
use platform::Env;
use serde_json::{Value, json};

const CLUSTER: &str = "7e570002";
const IMAGE: &str = "test.local/kube:1";
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "shim") {
        runtime::shim::main(&args[1..]);
    }
    if args.iter().any(|a| a == "--list") {
        if !args.iter().any(|a| a == "--ignored") {
            println!("kubelet_with_root: test");
        }
        return;
    }
    if std::env::var_os("CORTEN_ROOT_TESTS").is_none() {
        println!("kubelet_with_root: set CORTEN_ROOT_TESTS=1 to run (needs root)");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    assert!(
        std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0),
        "CORTEN_ROOT_TESTS is set, but this is not root"
    );
    let dir = std::env::temp_dir().join(format!("corten-kt-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("test directory");
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("tokio")
        .block_on(all(&dir));
    std::fs::remove_dir_all(&dir).expect("clean up");
}

struct Bench {
    client: Client,
    runtime: runtime::Runtime,
}

async fn all(dir: &Path) {
    let env = Env::system("kubelet-test");
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    let mut config = runtime::RuntimeConfig::new(CLUSTER, "n", dir.join("runtime"));
    config.run = dir.join("run");
    let runtime = runtime::Runtime::open(config, Arc::new(runtime::cni::Loopback)).await.expect("runtime");
    make_image(&dir.join("image"));
    runtime.load_image(dir.join("image"), Some(IMAGE.into())).await.expect("image");
    let mut config = kubelet::KubeletConfig::new("n1", dir.join("kubelet"), vec!["127.0.0.1".into()]);
    config.pod_logs_dir = dir.join("logs");
    let handle = kubelet::run(&env, config, client.clone(), Arc::new(runtime.clone())).await.expect("kubelet");
    let b = Bench { client, runtime };
    let begun = Instant::now();
    node_is_ready(&b).await;
    println!("ok node_is_ready ({:?})", begun.elapsed());
    starts_and_ends(&b, dir).await;
    println!("ok starts_and_ends ({:?})", begun.elapsed());
    jobs_end(&b).await;
    println!("ok jobs_end ({:?})", begun.elapsed());
    configuration(&b).await;
    println!("ok configuration ({:?})", begun.elapsed());
    probes_and_hooks(&b).await;
    println!("ok probes_and_hooks ({:?})", begun.elapsed());
    errors_are_told(&b).await;
    println!("ok errors_are_told ({:?})", begun.elapsed());
    over_a_socket(&b, &env, &dir.join("cri.sock")).await;
    println!("ok over_a_socket ({:?})", begun.elapsed());
    until("no pod is left", || async { handle.pods() == 0 }).await;
    assert!(b.runtime_is_empty().await, "sandboxes left");
    env.kill();
    runtime::reset(CLUSTER, &dir.join("run")).expect("reset");
}

/// An OCI layout of one layer.
fn make_image(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("blobs");
    let mut layer = tar::Builder::new(Vec::new());
    let mut h = tar::Header::new_gnu();
    let program = std::fs::read("/bin/busybox").expect("busybox: apt-get install busybox-static");
    h.set_mode(0o755);
    h.set_size(program.len() as u64);
    layer.append_data(&mut h, "bin/busybox", &program[..]).expect("busybox");
    for name in ["sh", "cat", "sleep", "echo", "test", "touch", "nc", "httpd", "ls", "mkdir"] {
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(tar::EntryType::Symlink);
        h.set_size(0);
        layer.append_link(&mut h, format!("bin/{name}"), "busybox").expect("link");
    }
    let put = |data: &[u8]| {
        let digest = runtime::image::unpack::sha256(data);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), data).expect("blob");
        (digest, data.len())
    };
    let (layer, layer_size) = put(&layer.into_inner().expect("layer"));
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [layer]}});
    let (config, config_size) = put(config.to_string().as_bytes());
    let manifest =
        json!({"config": {"digest": config, "size": config_size}, "layers": [{"digest": layer, "size": layer_size}]});
    let (manifest, size) = put(manifest.to_string().as_bytes());
    std::fs::write(dir.join("index.json"), json!({"manifests": [{"digest": manifest, "size": size}]}).to_string())
        .expect("index");
}

async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Bench {
    async fn create(&self, name: &str, mut spec: Value) -> Instant {
        spec["nodeName"] = "n1".into();
        spec["enableServiceLinks"] = false.into();
        if spec["terminationGracePeriodSeconds"].is_null() {
            spec["terminationGracePeriodSeconds"] = 1.into();
        }
        for c in spec["containers"].as_array_mut().into_iter().flatten() {
            c["image"] = IMAGE.into();
            c["imagePullPolicy"] = "IfNotPresent".into();
            c["terminationMessagePath"] = "/dev/termination-log".into();
        }
        if spec["restartPolicy"].is_null() {
            spec["restartPolicy"] = "Always".into();
        }
        let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        let begun = Instant::now();
        self.client.create(&resources::PODS, "default", pod).await.expect("create");
        begun
    }

    async fn get(&self, name: &str) -> Option<Value> {
        self.client.get(At { resource: &resources::PODS, namespace: "default", name }).await.ok()
    }

    async fn wait(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let pod = self.get(name).await.unwrap_or_default();
            if condition(&pod) {
                return pod;
            }
            if Instant::now() > end {
                let events: Vec<String> = self.events(name).await;
                panic!("{name} is not {what}: {:#}\n{}", pod["status"], events.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn delete(&self, name: &str) {
        let at = At { resource: &resources::PODS, namespace: "default", name };
        self.client.delete(at, &DeleteOptions { grace_seconds: Some(1), ..Default::default() }).await.expect("delete");
        let end = Instant::now() + DEADLINE;
        while let Some(pod) = self.get(name).await {
            assert!(Instant::now() < end, "{name} is not deleted: {pod:#}\n{}", self.events(name).await.join("\n"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn events(&self, name: &str) -> Vec<String> {
        let all: Vec<Value> = self.client.list_all(client::ListRequest::all(resources::EVENTS)).await.expect("events");
        let ours = all.iter().filter(|e| e["involvedObject"]["name"] == name);
        ours.map(|e| format!("{}: {}", e["reason"].as_str().unwrap_or(""), e["message"].as_str().unwrap_or("")))
            .collect()
    }

    async fn runtime_is_empty(&self) -> bool {
        use wire::Cri;
        self.runtime.list_pod_sandbox(Default::default()).await.expect("list").items.is_empty()
    }
}

fn condition(pod: &Value, kind: &str) -> Value {
    let list = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|c| c["type"] == kind).map(|c| c["status"].clone()).unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == "True"
}

fn sh(script: &str) -> Value {
    json!(["sh", "-c", script])
}

async fn node_is_ready(b: &Bench) {
    until("the node is ready", || async {
        let node: Value =
            b.client.get(At { resource: &resources::NODES, namespace: "", name: "n1" }).await.unwrap_or_default();
        condition(&node, "Ready") == "True"
    })
    .await;
    until("the lease is there", || async {
        b.client
            .get::<Value>(At { resource: &resources::LEASES, namespace: "kube-node-lease", name: "n1" })
            .await
            .is_ok()
    })
    .await;
}

async fn starts_and_ends(b: &Bench, dir: &Path) {
    let mut times = Vec::new();
    for i in 0..5 {
        let name = format!("fast{i}");
        let begun =
            b.create(&name, json!({"containers": [{"name": "a", "command": sh("echo hello; sleep 1000")}]})).await;
        let pod = b.wait(&name, "ready", is_ready).await;
        times.push(begun.elapsed());
        assert_eq!(pod["status"]["phase"], "Running");
        assert!(pod["status"]["containerStatuses"][0]["containerID"].as_str().expect("id").starts_with("corten://"));
        let uid = pod["metadata"]["uid"].as_str().expect("uid").to_string();
        let log = dir.join("logs").join(format!("default_{name}_{uid}")).join("a/0.log");
        until("the log is there", || async { std::fs::read_to_string(&log).is_ok_and(|t| t.contains("hello")) }).await;
        b.delete(&name).await;
        until("files are gone", || async { !dir.join("kubelet/pods").join(&uid).exists() }).await;
    }
    println!("   created to ready: {times:?}");
}

async fn jobs_end(b: &Bench) {
    let last_words = "echo -n bye > /dev/termination-log; exit 3";
    b.create("job", json!({"restartPolicy": "Never", "containers": [{"name": "a", "command": sh(last_words)}]})).await;
    let pod = b.wait("job", "failed", |p| p["status"]["phase"] == "Failed").await;
    let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (state["exitCode"].as_i64(), state["reason"].as_str(), state["message"].as_str()),
        (Some(3), Some("Error"), Some("bye"))
    );
    b.delete("job").await;
    let init = json!([{"name": "i", "image": IMAGE, "command": sh("echo from-init > /work/file")}]);
    let spec = json!({
        "restartPolicy": "Never", "initContainers": init, "volumes": [{"name": "w", "emptyDir": {}}],
        "containers": [{"name": "a", "command": sh("cat /work/file; test -f /work/file"), "volumeMounts": [{"name": "w", "mountPath": "/work"}]}],
    });
    let mut spec = spec;
    spec["initContainers"][0]["volumeMounts"] = json!([{"name": "w", "mountPath": "/work"}]);
    b.create("init", spec).await;
    b.wait("init", "succeeded", |p| p["status"]["phase"] == "Succeeded").await;
    b.delete("init").await;
    b.create("crash", json!({"containers": [{"name": "a", "command": sh("exit 1")}]})).await;
    let pod = b
        .wait("crash", "backing off", |p| {
            p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    b.delete("crash").await;
}

async fn configuration(b: &Bench) {
    let ns = "default";
    b.client
        .create(
            &resources::CONFIGMAPS,
            ns,
            json!({"metadata": {"name": "cm"}, "data": {"key": "one", "file.txt": "content"}}),
        )
        .await
        .expect("cm");
    b.client
        .create(&resources::SECRETS, ns, json!({"metadata": {"name": "sec"}, "data": {"pw": "c2VjcmV0"}}))
        .await
        .expect("secret");
    let script = "echo $A $B $C $D $E; cat /cm/key /sec/pw /down/labels; while test $(cat /cm/key) = one; do sleep 0.05; done; exit 0";
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [
            {"name": "c", "configMap": {"name": "cm"}}, {"name": "s", "secret": {"secretName": "sec", "defaultMode": 256}},
            {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "m", "emptyDir": {"medium": "Memory"}},
        ],
        "containers": [{
            "name": "a", "command": sh(script),
            "env": [
                {"name": "A", "value": "plain"}, {"name": "B", "value": "$(A)-expanded"},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "key"}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
                {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "volumeMounts": [{"name": "c", "mountPath": "/cm"}, {"name": "s", "mountPath": "/sec"}, {"name": "d", "mountPath": "/down"}, {"name": "m", "mountPath": "/mem"}],
        }],
    });
    b.create("conf", spec).await;
    b.wait("conf", "running", |p| p["status"]["phase"] == "Running").await;
    let at = At { resource: &resources::CONFIGMAPS, namespace: ns, name: "cm" };
    b.client.patch(at, None, &PatchKind::Merge, &json!({"data": {"key": "two"}})).await.expect("patch");
    b.wait("conf", "succeeded after the change", |p| p["status"]["phase"] == "Succeeded").await;
    b.delete("conf").await;
}

async fn probes_and_hooks(b: &Bench) {
    let spec = json!({
        "terminationGracePeriodSeconds": 3,
        "containers": [{
            "name": "a", "command": sh("sleep 0.2; touch /tmp-ready; trap 'exit 0' TERM; while true; do sleep 0.1; done"),
            "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp-ready"]}, "periodSeconds": 1},
            "livenessProbe": {"exec": {"command": ["test", "!", "-f", "/tmp-dead"]}, "periodSeconds": 1, "failureThreshold": 1},
            "lifecycle": {"postStart": {"exec": {"command": ["touch", "/tmp-started"]}}, "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1"]}}},
        }],
    });
    b.create("probed", spec).await;
    let pod = b.wait("probed", "ready", is_ready).await;
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .expect("id")
        .trim_start_matches("corten://")
        .to_string();
    use wire::Cri;
    let request = wire::cri::ExecSyncRequest {
        container_id: id,
        cmd: vec!["sh".into(), "-c".into(), "test -f /tmp-started && touch /tmp-dead".into()],
        timeout: 5,
    };
    assert_eq!(b.runtime.exec_sync(request).await.expect("exec").exit_code, 0);
    b.wait("probed", "restarted", |p| p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p)).await;
    let events = b.events("probed").await.join("\n");
    assert!(
        events.contains("Unhealthy: Liveness probe failed")
            && events.contains("Killing: Container a failed liveness probe, will be restarted"),
        "{events}"
    );
    b.delete("probed").await;
}

async fn errors_are_told(b: &Bench) {
    let waiting = |reason: &'static str| {
        move |p: &Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
    };
    b.create("noconf", json!({"containers": [{"name": "a", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k"}}}]}]})).await;
    b.wait("noconf", "told", waiting("CreateContainerConfigError")).await;
    b.create("nocmd", json!({"containers": [{"name": "a", "command": ["/no/such"]}]})).await;
    let pod = b.wait("nocmd", "told", |p| p["status"]["containerStatuses"][0]["restartCount"].as_i64() > Some(0)).await;
    let last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"].clone();
    assert_eq!(
        (last["reason"].as_str(), last["exitCode"].as_i64()),
        (Some("StartError"), Some(128)),
        "{:#}",
        pod["status"]
    );
    b.create("nopull", json!({"containers": [{"name": "a"}]})).await;
    for name in ["noconf", "nocmd", "nopull"] {
        b.delete(name).await;
    }
}

/// The embedded runtime behind its socket, used through the client that is meant for containerd.
async fn over_a_socket(b: &Bench, env: &Env, socket: &Path) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use wire::Cri;
    use wire::cri::ExecRequest;
    let (served, path) = (b.runtime.clone(), socket.to_path_buf());
    drop(env.spawn("cri", async move { runtime::grpc::serve(served, &path).await.expect("serve") }));
    until("the socket is there", || async { socket.exists() }).await;
    let remote = kubelet::remote::Remote::new(env, &format!("unix://{}", socket.display())).expect("remote");
    assert_eq!(remote.version().await.expect("version").runtime_name, "corten");
    assert_eq!(remote.list_images(Default::default()).await.expect("images").images.len(), 1);
    let mut events = remote.container_events().await.expect("events");
    b.create("socket", json!({"containers": [{"name": "a", "command": sh("sleep 1000")}]})).await;
    let pod = b.wait("socket", "ready", is_ready).await;
    let event = tokio::time::timeout(DEADLINE, events.recv()).await.expect("in time").expect("event");
    assert_eq!(event.pod_sandbox_status.expect("pod").metadata.expect("metadata").name, "socket");
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .expect("id")
        .trim_start_matches("corten://")
        .to_string();
    let cmd = ["sh", "-c", "cat; echo error >&2; exit 6"].map(String::from).to_vec();
    let request = ExecRequest { container_id: id.clone(), cmd, stdin: true, stdout: true, stderr: true, tty: false };
    let mut process = remote.exec_stream(request).await.expect("exec");
    let mut stdin = process.stdin.take().expect("stdin");
    stdin.write_all(&vec![b'x'; 300_000]).await.expect("write");
    stdin.shutdown().await.expect("end");
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), String::new());
    process.stdout.take().expect("stdout").read_to_end(&mut out).await.expect("read");
    process.stderr.take().expect("stderr").read_to_string(&mut err).await.expect("read");
    assert_eq!((out.len(), err.as_str(), process.exit.await.expect("code")), (300_000, "error\n", 6));
    let missing = remote
        .container_status(wire::cri::ContainerStatusRequest { container_id: "beef".into(), verbose: false })
        .await;
    assert_eq!(missing.expect_err("unknown").code(), wire::Code::NotFound);
    b.delete("socket").await;
}
