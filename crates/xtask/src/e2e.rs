//! End-to-end: a cluster of our binary with real containers, driven by its own `kubectl` and by the real one where it is.
//!
//! Every step waits on a condition with a deadline. The cluster lives in a directory of its own and is reset at the end;
//! what `reset` leaves behind is a failure.

mod swaps;
mod torture;

use crate::{images, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the end-to-end tests; `--keep` leaves the cluster. With a name, only that scenario:
/// `torture [--seed N] [--rounds N]` kills the cluster at random moments.
pub fn run(args: &[String]) -> Result<(), String> {
    // SAFETY-free check: the id of the current user stands in its process' status.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|l| l.starts_with("Uid:\t0\t")) {
        return Err("end-to-end tests make namespaces, mounts and network rules: run them as root".into());
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        at.map_or(Ok(default), |v| v.parse().map_err(|_| format!("{name}: {v:?} is no number")))
    };
    let (seed, rounds) = (number("--seed", 1)?, number("--rounds", 4)?);
    let torture = move |c: &Cluster| torture::run(c, seed, rounds);
    type Scenario<'a> = (&'a str, &'a dyn Fn(&Cluster) -> Result<(), String>);
    let scenarios: [Scenario<'_>; 3] = [("books", &Cluster::all), ("torture", &torture), ("swaps", &swaps::run)];
    let only = args.iter().find(|a| scenarios.iter().any(|(name, _)| name == a));
    let began = Instant::now();
    for (name, scenario) in scenarios.iter().filter(|(name, _)| only.is_none_or(|o| o == name)) {
        let cluster = Cluster::new(name)?;
        cluster.play(scenario, args.iter().any(|a| a == "--keep")).map_err(|e| format!("{name}: {e}"))?;
        println!("e2e: {name} passes ({:.0} s since the start)", began.elapsed().as_secs_f64());
    }
    println!("e2e: all scenarios pass");
    Ok(())
}

struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
}

/// One way to say `kubectl`.
struct Kubectl<'a> {
    cluster: &'a Cluster,
    name: String,
    command: Vec<String>,
}

impl Cluster {
    fn new(name: &str) -> Result<Cluster, String> {
        let dir = run::scratch(&format!("e2e-{name}"))?;
        let bin = dir.join("corten");
        std::fs::copy(run::corten()?, &bin).map_err(|e| format!("copy the binary: {e}"))?;
        Ok(Cluster { bin, dir })
    }

    /// Plays a scenario and resets; when it fails the end of the log is shown.
    fn play(&self, scenario: &dyn Fn(&Cluster) -> Result<(), String>, keep: bool) -> Result<(), String> {
        let result = scenario(self);
        if keep {
            println!("e2e: kept in {}", self.dir.display());
            return result;
        }
        let log = std::fs::read_to_string(self.data().join("corten.log")).unwrap_or_default();
        let reset = self.reset();
        if result.is_err() {
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the cluster's log ends with:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        result.and(reset)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn corten(&self, args: &[&str]) -> Result<String, String> {
        let mut c = Command::new(&self.bin);
        c.args(args).arg("--data-dir").arg(self.data()).stdin(Stdio::null());
        if args[0] == "up" {
            c.arg("--key-dir").arg(self.dir.join("keys"));
        }
        run::output(&mut c)
    }

    /// A fact of `cluster.json`; empty if there is no cluster.
    fn fact(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.data().join("cluster.json")).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value[name].as_str().unwrap_or_default().to_string()
    }

    fn id(&self) -> String {
        self.fact("id")
    }

    /// Name of the first node.
    fn node(&self) -> String {
        self.fact("node")
    }

    fn up(&self) -> Result<(), String> {
        let began = Instant::now();
        self.corten(&["up", "--nodes", "2"])?;
        println!("e2e: up after {:.2} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Ours, and the real one where it is found.
    fn kubectls(&self) -> Vec<Kubectl<'_>> {
        let mut all = vec![Kubectl {
            cluster: self,
            name: "corten kubectl".into(),
            command: vec![self.bin.display().to_string(), "kubectl".into()],
        }];
        let real = ["/usr/lib/google-cloud-sdk/bin/kubectl.1.33", "/usr/lib/google-cloud-sdk/bin/kubectl.1.27"];
        all.extend(real.iter().filter(|p| Path::new(p).exists()).map(|p| Kubectl {
            cluster: self,
            name: (*p).rsplit('/').next().unwrap_or(p).into(),
            command: vec![(*p).into()],
        }));
        all
    }

    fn all(&self) -> Result<(), String> {
        self.up()?;
        let archive = images::busybox(&self.dir)?;
        for archive in [&archive, &images::web(&self.dir)?] {
            self.corten(&["image", "load", &archive.display().to_string()])?;
        }
        for k in self.kubectls() {
            let began = Instant::now();
            k.path_of_the_books().map_err(|e| format!("{}: {e}", k.name))?;
            println!("e2e: the path of the books with {} in {:.1} s", k.name, began.elapsed().as_secs_f64());
        }
        let ours = self.kubectls().remove(0);
        self.pull(&ours, &archive)?;
        println!("e2e: an image from a registry");
        ours.workloads()?;
        println!("e2e: job, daemon set, stateful set");
        self.crash(&ours)?;
        println!("e2e: killed and taken over");
        Ok(())
    }

    /// A registry on this machine (plain HTTP on loopback, which the first node reaches), and its address.
    fn registry(&self) -> Result<(run::Guard, String), String> {
        let port = run::free_port()?;
        let config = self.dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            self.dir.join("registry").display()
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let registry = run::Guard(registry.map_err(|e| format!("start docker-registry: {e}"))?);
        run::until("the registry listens", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok((registry, format!("127.0.0.1:{port}")))
    }

    /// Puts an archive's image into the registry.
    fn push(&self, archive: &Path, image: &str) -> Result<(), String> {
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{image}"));
        run::output(&mut copy).map(drop)
    }

    /// A pod whose image comes from a registry.
    fn pull(&self, k: &Kubectl, archive: &Path) -> Result<(), String> {
        let (_registry, address) = self.registry()?;
        let image = format!("{address}/corten/busybox:1");
        self.push(archive, &image)?;
        let first = k.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
        k.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: pulled}}\nspec:\n  nodeName: {}\n  terminationGracePeriodSeconds: 0\n  containers: [{{name: main, image: \"{image}\", command: [sleep, \"3600\"]}}]\n",
            first.trim()
        ))?;
        k.run(&["wait", "--for=condition=Ready", "pod/pulled", "--timeout=60s"])?;
        k.run(&["delete", "pod", "pulled"]).map(drop)
    }

    /// Pids of the processes of the cluster: the main one, and those of its nodes 2 and following.
    fn pids(&self) -> Vec<String> {
        let data = self.data().display().to_string();
        let mut out = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let text = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let args: Vec<String> = String::from_utf8_lossy(&text).split('\0').map(String::from).collect();
            let role = args.get(1).map(String::as_str);
            if matches!(role, Some("node" | "up")) && args.iter().any(|a| *a == data) {
                out.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        out
    }

    /// kill -9 of every process but the shims.
    fn kill(&self) -> Result<(), String> {
        let pids = self.pids();
        if !pids.is_empty() {
            // One that ended with its parent in between is no error.
            let _ = Command::new("kill").arg("-9").args(&pids).stderr(Stdio::null()).status();
        }
        run::until("the processes are gone", Duration::from_secs(10), || self.pids().is_empty())
    }

    /// kill -9 of the process: pods go on and are adopted, nothing is lost.
    fn crash(&self, k: &Kubectl) -> Result<(), String> {
        k.apply(&web("crash"))?;
        k.run(&["rollout", "status", "deployment/crash", "--timeout=90s"])?;
        k.run(&["create", "configmap", "before", "--from-literal=a=1"])?;
        let pods = |what: &str| {
            k.run(&["get", "pods", "-l", "app=crash", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}"]).map_err(|e| format!("{what}: {e}"))
        };
        let before = pods("before")?;
        self.kill()?;
        self.up()?;
        k.run(&["get", "configmap", "before"])?;
        let after = pods("after")?;
        if before != after {
            return Err(format!("pods were not adopted:\nbefore\n{before}after\n{after}"));
        }
        k.until("an adopted pod runs commands", &["exec", "deploy/crash", "--", "true"], |_| true)?;
        k.run(&["delete", "deployment,service,configmap", "--all", "--wait=false"])
            .or_else(|_| k.run(&["delete", "deployment", "crash"]))
            .map(drop)
    }

    fn reset(&self) -> Result<(), String> {
        let id = self.id();
        self.corten(&["reset", "--yes"])?;
        if id.is_empty() {
            return Ok(());
        }
        let mut left = Vec::new();
        for (what, text) in [
            ("mounts", std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            ("links", std::fs::read_to_string("/proc/net/dev").unwrap_or_default()),
        ] {
            let data = self.data().display().to_string();
            left.extend(text.lines().filter(|l| l.contains(&id) || l.contains(&data)).map(|l| format!("{what}: {l}")));
        }
        for dir in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/run"] {
            left.extend(
                std::fs::read_dir(dir)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| e.path().display().to_string())
                    .filter(|p| p.contains(&id)),
            );
        }
        if left.is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
            Ok(())
        } else {
            Err(format!("`corten reset` left behind:\n{}", left.join("\n")))
        }
    }
}

/// A deployment of a small web server with its service and configuration.
fn web(name: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-pages}}
data: {{index.html: "hello from {name}\n"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}-secret}}
stringData: {{word: xyzzy}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {image}
        args: [/bin/web, --port, "8080", --pages, /pages]
        env:
        - name: WORD
          valueFrom: {{secretKeyRef: {{name: {name}-secret, key: word}}}}
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
        resources: {{limits: {{memory: 32Mi, cpu: 500m}}, requests: {{cpu: 10m}}}}
        volumeMounts: [{{name: pages, mountPath: /pages}}]
      volumes:
      - name: pages
        configMap: {{name: {name}-pages}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"#,
        image = images::WEB
    )
}

impl Kubectl<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(&self.command[0]);
        c.args(&self.command[1..])
            .args(args)
            .env("KUBECONFIG", self.cluster.data().join("kubeconfig"))
            .stdin(Stdio::null());
        c
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        run::output(&mut self.command(args))
    }

    /// Repeats a command until its output is as it should be.
    fn until(&self, what: &str, args: &[&str], good: impl Fn(&str) -> bool) -> Result<(), String> {
        let mut last = String::new();
        run::until(what, PATIENCE, || match self.run(args) {
            Ok(text) => {
                let ok = good(&text);
                last = text;
                ok
            }
            Err(e) => {
                last = e;
                false
            }
        })
        .map_err(|e| format!("{e}; `{}` says:\n{last}", args.join(" ")))
    }

    fn apply(&self, manifest: &str) -> Result<(), String> {
        let file = self.cluster.dir.join("manifest.yaml");
        std::fs::write(&file, manifest).map_err(|e| e.to_string())?;
        self.run(&["apply", "-f", &file.display().to_string()]).map(drop)
    }

    /// Objects as JSON.
    fn json(&self, args: &[&str]) -> Result<serde_json::Value, String> {
        let text = self.run(&[&["get", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).map_err(|e| format!("kubectl get {}: {e}", args.join(" ")))
    }

    /// What a user does on the first day, from apply to delete.
    fn path_of_the_books(&self) -> Result<(), String> {
        self.apply(&web("web"))?;
        self.run(&["rollout", "status", "deployment/web", "--timeout=90s"])?;
        self.until("three pods are ready", &["get", "deployment", "web"], |t| t.contains("3/3"))?;
        let wide = self.run(&["get", "pods", "-l", "app=web", "-o", "wide"])?;
        let nodes: std::collections::BTreeSet<&str> =
            wide.lines().skip(1).filter_map(|l| l.split_whitespace().nth(6)).collect();
        if nodes.len() < 2 {
            return Err(format!("the pods are all on one node:\n{wide}"));
        }
        self.run(&["describe", "deployment", "web"])?;
        let pod = self.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"])?;
        let text = self.run(&["describe", "pod", &pod])?;
        if !text.contains("Scheduled") || !text.contains("Started") {
            return Err(format!("describe shows no events:\n{text}"));
        }
        // By name, across nodes, from a pod.
        self.until("the service answers by name", &["exec", &pod, "--", "sh", "-c", &fetch("web")], |t| {
            t.contains("hello from web")
        })?;
        let ip = self.run(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])?;
        for _ in 0..6 {
            let text = self.run(&["exec", &pod, "--", "sh", "-c", &fetch(&ip)])?;
            if !text.contains("hello from web") {
                return Err(format!("the cluster address answers {text:?}"));
            }
        }
        self.node_port()?;
        let word = self.run(&["exec", &pod, "--", "sh", "-c", "echo $WORD"])?;
        if word.trim() != "xyzzy" {
            return Err(format!("the secret reads {word:?}"));
        }
        self.until("the log shows requests", &["logs", "-l", "app=web", "--tail=-1"], |t| t.contains("GET / 200"))?;
        self.follow(&pod)?;
        self.exit_code(&pod)?;
        self.one_shot()?;
        self.port_forward(&pod)?;
        self.change()
    }

    fn node_port(&self) -> Result<(), String> {
        let port = self.run(&["get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"])?;
        let addresses = self.run(&[
            "get",
            "nodes",
            "-o",
            "jsonpath={range .items[*]}{.status.addresses[0].address}{\"\\n\"}{end}",
        ])?;
        for address in addresses.lines().filter(|l| !l.is_empty()) {
            run::until(&format!("node port {port} answers on {address}"), Duration::from_secs(20), || {
                get(&format!("{address}:{port}")).is_some_and(|t| t.contains("hello from web"))
            })?;
        }
        Ok(())
    }

    /// `logs -f` shows a line when it is written, `get -w` a change when it happens; both end when they are told to.
    fn follow(&self, pod: &str) -> Result<(), String> {
        let out = self.cluster.dir.join("followed");
        let started = |args: &[&str]| -> Result<run::Guard, String> {
            let file = std::fs::File::create(&out).map_err(|e| e.to_string())?;
            Ok(run::Guard(self.command(args).stdout(file).spawn().map_err(|e| e.to_string())?))
        };
        let shown = |word: &str| std::fs::read_to_string(&out).unwrap_or_default().contains(word);
        let logs = started(&["logs", "-f", "--tail=0", pod])?;
        run::until("a followed log shows a new request", PATIENCE, || {
            let _ = self.run(&[
                "exec",
                pod,
                "--",
                "sh",
                "-c",
                "printf 'GET /followed HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 8080",
            ]);
            shown("GET /followed 404")
        })?;
        drop(logs);
        let watch =
            started(&["get", "configmap", "web-pages", "-w", "-o", "jsonpath={.metadata.labels.seen}{\"\\n\"}"])?;
        // Another label each time: upstream's kubectl leaves out the state in which it finds a single object as it begins to
        // watch, so that a change between its get and its watch is never shown.
        let mut times = 0;
        run::until("a watch shows a change", PATIENCE, || {
            times += 1;
            let _ = self.run(&["label", "configmap", "web-pages", &format!("seen=now-{times}"), "--overwrite"]);
            shown("now")
        })?;
        drop(watch);
        self.run(&["label", "configmap", "web-pages", "seen-"]).map(drop)
    }

    /// `run --rm -i`: upstream's command line follows this pod by a protobuf watch.
    fn one_shot(&self) -> Result<(), String> {
        let image = format!("--image={}", images::BUSYBOX);
        let args = ["run", "once", &image, "--restart=Never", "--rm", "-i", "--", "sh", "-c", "echo said; exit 3"];
        let out = self.command(&args).output().map_err(|e| e.to_string())?;
        let (text, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if out.status.code() != Some(3) || !text.contains("said") || wrong.contains("watch") {
            return Err(format!("run --rm ends with {}, not 3, or complains:\n{text}{wrong}", out.status));
        }
        Ok(())
    }

    fn exit_code(&self, pod: &str) -> Result<(), String> {
        let status =
            self.command(&["exec", pod, "--", "sh", "-c", "exit 7"]).output().map_err(|e| e.to_string())?.status;
        if status.code() == Some(7) { Ok(()) } else { Err(format!("exec gives exit status {status}, not 7")) }
    }

    fn port_forward(&self, pod: &str) -> Result<(), String> {
        let port = run::free_port()?;
        let child = self
            .command(&["port-forward", pod, &format!("{port}:8080")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let _child = run::Guard(child);
        run::until("the forwarded port answers", Duration::from_secs(20), || {
            get(&format!("127.0.0.1:{port}")).is_some_and(|t| t.contains("hello from web"))
        })
    }

    fn change(&self) -> Result<(), String> {
        self.run(&["scale", "deployment/web", "--replicas=1"])?;
        self.until("one pod is left", &["get", "pods", "-l", "app=web", "-o", "name"], |t| t.lines().count() == 1)?;
        self.run(&["rollout", "restart", "deployment/web"])?;
        self.run(&["rollout", "status", "deployment/web", "--timeout=90s"])?;
        self.run(&["rollout", "undo", "deployment/web"])?;
        self.run(&["rollout", "status", "deployment/web", "--timeout=90s"])?;
        self.run(&["delete", "deployment/web", "service/web", "configmap/web-pages", "secret/web-secret"])?;
        self.until("its pods are gone", &["get", "pods", "-l", "app=web", "-o", "name"], |t| t.trim().is_empty())
    }

    /// A job that completes, a daemon set on every node, a stateful set in order.
    fn workloads(&self) -> Result<(), String> {
        let image = images::BUSYBOX;
        self.apply(&format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: work}}\nspec:\n  completions: 3\n  parallelism: 2\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{{name: main, image: {image}, command: [sh, -c, echo done]}}]\n"
        ))?;
        self.run(&["wait", "--for=condition=complete", "job/work", "--timeout=90s"])?;
        let sleeper = format!(
            "containers: [{{name: main, image: {image}, command: [sleep, \"3600\"]}}]\n      terminationGracePeriodSeconds: 0"
        );
        self.apply(&format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: every}}\nspec:\n  selector: {{matchLabels: {{app: every}}}}\n  template:\n    metadata: {{labels: {{app: every}}}}\n    spec:\n      {sleeper}\n"
        ))?;
        self.run(&["rollout", "status", "daemonset/every", "--timeout=90s"])?;
        self.until(
            "it runs on both nodes",
            &["get", "daemonset", "every", "-o", "jsonpath={.status.numberReady}"],
            |t| t.trim() == "2",
        )?;
        self.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{clusterIP: None, selector: {{app: db}}, ports: [{{port: 1}}]}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  serviceName: db\n  replicas: 2\n  selector: {{matchLabels: {{app: db}}}}\n  template:\n    metadata: {{labels: {{app: db}}}}\n    spec:\n      {sleeper}\n"
        ))?;
        self.run(&["rollout", "status", "statefulset/db", "--timeout=90s"])?;
        self.until(
            "a stable name resolves",
            &["exec", "db-0", "--", "nslookup", "db-1.db.default.svc.cluster.local"],
            |t| t.contains("db-1.db.default.svc.cluster.local"),
        )?;
        self.run(&["delete", "job/work", "daemonset/every", "statefulset/db", "service/db"]).map(drop)
    }
}

/// A GET from within a pod (the static busybox's own `wget` crashes on some hosts).
fn fetch(host: &str) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {host} 80")
}

/// A plain HTTP GET.
fn get(address: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let target = address.parse().ok()?;
    let mut stream = std::net::TcpStream::connect_timeout(&target, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text); // the server may reset after its answer
    Some(text)
}
