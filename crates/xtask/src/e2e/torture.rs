//! Torture: every process of the cluster but the shims is killed with SIGKILL at random moments, while images are pulled,
//! pods made and deleted, containers end, and clients write. After each new start nothing may be lost, doubled or changed.
//!
//! What happens when is decided by a seed; how far the cluster has got by then is not, so that a seed is a mix of trouble,
//! not a replay.

use super::{Cluster, Kubectl};
use crate::{images, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// Lines that a pod which ends prints.
const LINES: usize = 400;

/// Plays `rounds` kills, then kills of single shims and nodes, a reboot, and a search for leaks.
pub fn run(cluster: &Cluster, seed: u64, rounds: u64) -> Result<(), String> {
    println!("e2e: torture with seed {seed}, {rounds} rounds");
    cluster.up()?;
    let archive = images::busybox(&cluster.dir)?;
    cluster.corten(&["image", "load", &archive.display().to_string()])?;
    let (_registry, registry) = cluster.registry()?;
    let k = cluster.kubectls().remove(0);
    let mut torture = Torture {
        cluster,
        k,
        registry,
        starts: cluster.dir.join("starts"),
        random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        pods: BTreeMap::new(),
        written: Mutex::default(),
    };
    std::fs::create_dir_all(&torture.starts).map_err(|e| e.to_string())?;
    torture.all(rounds)
}

/// A small generator: what happens must follow from the seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What must become of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Runs,
    Ends(u64),
    Goes,
}

/// Values that a client was told are stored, and the one it was not told about.
#[derive(Clone, Debug, Default)]
struct Written {
    acknowledged: String,
    tried: String,
}

struct Torture<'a> {
    cluster: &'a Cluster,
    k: Kubectl<'a>,
    registry: String,
    /// Each container writes a line here when it starts.
    starts: PathBuf,
    random: Random,
    pods: BTreeMap<String, Fate>,
    written: Mutex<BTreeMap<String, Written>>,
}

impl Torture<'_> {
    fn all(&mut self, rounds: u64) -> Result<(), String> {
        self.k.apply(&steady())?;
        self.k.run(&["rollout", "status", "daemonset/steady", "--timeout=90s"])?;
        let before = self.steady()?;
        for round in 0..rounds {
            self.round(round)
                .and_then(|()| same(&before, &self.steady()?))
                .map_err(|e| format!("round {round}: {e}"))?;
        }
        let count = self.written.lock().unwrap_or_else(PoisonError::into_inner).len();
        println!(
            "e2e: {rounds} kills: {count} acknowledged objects are there, {} pods are as they must be",
            self.pods.len()
        );
        self.kill_node(&before)?;
        println!("e2e: a killed node process came back");
        self.kill_shim()?;
        println!("e2e: a killed shim's pod was made anew");
        self.reboot()?;
        println!("e2e: pods run again after a reboot");
        self.k.run(&["delete", "daemonset", "steady"])?;
        self.k.run(&["delete", "pods", "--all", "--wait=false"])?;
        self.k.until("all pods are gone", &["get", "pods", "-o", "name"], |t| t.trim().is_empty())?;
        let mut left = Vec::new();
        run::until("nothing of the pods is left", Duration::from_secs(60), || {
            left = leaks(self.cluster);
            left.is_empty()
        })
        .map_err(|e| format!("{e}:\n{}", left.join("\n")))
    }

    /// Trouble, a kill at a random moment, a pause, a new start, and a look at everything.
    fn round(&mut self, round: u64) -> Result<(), String> {
        let image = self.fresh_image(round)?;
        let stop = AtomicBool::new(false);
        let (before, dead) = (self.random.below(1200), self.random.below(1500));
        let writers = [self.random.below(1 << 20), self.random.below(1 << 20)];
        let trouble = self.trouble(round, &image);
        let (cluster, k, written) = (self.cluster, &self.k, &self.written);
        let acknowledged = std::thread::scope(|scope| {
            for writer in writers {
                scope.spawn({
                    let stop = &stop;
                    move || write(k, written, writer, stop)
                });
            }
            let done =
                scope.spawn(move || trouble.into_iter().filter(|t| k.apply_as(&t.name, &t.what)).collect::<Vec<_>>());
            // A random moment is the point here, not a wait for something.
            std::thread::sleep(Duration::from_millis(before));
            let killed = cluster.kill();
            std::thread::sleep(Duration::from_millis(dead));
            let started = killed.and_then(|()| cluster.up());
            stop.store(true, Ordering::Relaxed);
            let done = done.join().map_err(|_| "the thread that makes trouble panicked".to_string());
            started.and(done)
        })?;
        for t in acknowledged {
            self.pods.insert(t.name, t.fate);
        }
        self.check_writes()?;
        for (name, fate) in self.pods.clone() {
            self.check_pod(&name, fate)?;
        }
        self.pods.retain(|_, fate| *fate != Fate::Goes);
        Ok(())
    }

    /// An image that no node has, with a layer that takes a moment.
    fn fresh_image(&self, round: u64) -> Result<String, String> {
        let image = format!("{}/corten/fresh:{round}", self.registry);
        let archive = images::with_ballast(&self.cluster.dir, 24 << 20)?;
        self.cluster.push(&archive, &image)?;
        Ok(image)
    }

    /// What is asked of the cluster before it is killed.
    fn trouble(&mut self, round: u64, image: &str) -> Vec<Trouble> {
        let mut out = Vec::new();
        for i in 0..2 + self.random.below(3) {
            let code = 3 + self.random.below(100);
            let tenths = self.random.below(25);
            let (name, image, script, fate) = match (i, self.random.below(3)) {
                (0, _) => (format!("pull-{round}"), image, "exec sleep 3600".into(), Fate::Runs),
                (_, 0) => (format!("run-{round}-{i}"), images::BUSYBOX, "exec sleep 3600".into(), Fate::Runs),
                _ => {
                    let script = format!("usleep {tenths}00000; seq 1 {LINES}; exit {code}");
                    (format!("end-{round}-{i}"), images::BUSYBOX, script, Fate::Ends(code))
                }
            };
            // Only the first node reaches a registry on loopback.
            let node = if i == 0 { self.cluster.node() } else { String::new() };
            out.push(Trouble { what: pod(&name, image, &script, &self.starts, &node), name, fate });
        }
        let old: Vec<String> = self.pods.keys().cloned().collect();
        if !old.is_empty() {
            let victim = old[self.random.below(old.len() as u64) as usize].clone();
            out.push(Trouble { what: String::new(), name: victim, fate: Fate::Goes });
        }
        out
    }

    /// Every write that was acknowledged is there.
    fn check_writes(&self) -> Result<(), String> {
        let all = self.k.json(&["configmaps"])?;
        let items = all["items"].as_array().cloned().unwrap_or_default();
        let found: BTreeMap<&str, &str> = items
            .iter()
            .map(|i| (i["metadata"]["name"].as_str().unwrap_or_default(), i["data"]["v"].as_str().unwrap_or_default()))
            .collect();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, w) in written.iter().filter(|(_, w)| !w.acknowledged.is_empty()) {
            match found.get(name.as_str()) {
                Some(v) if *v == w.acknowledged || *v == w.tried => {}
                other => return Err(format!("{name}: {w:?} was acknowledged, the server has {other:?}")),
            }
        }
        Ok(())
    }

    fn check_pod(&self, name: &str, fate: Fate) -> Result<(), String> {
        let started = || std::fs::read_to_string(self.starts.join(name)).unwrap_or_default().lines().count();
        let mut seen = String::new();
        let fits = |pod: &serde_json::Value| {
            let status = &pod["status"]["containerStatuses"][0];
            match fate {
                Fate::Runs => status["ready"] == true && status["state"]["running"].is_object(),
                Fate::Ends(_) => status["state"]["terminated"].is_object(),
                Fate::Goes => false,
            }
        };
        run::until(&format!("pod {name} is as it must be"), PATIENCE, || match self.k.json(&["pod", name]) {
            Ok(pod) => {
                seen = pod["status"].to_string();
                fits(&pod)
            }
            Err(e) => {
                seen = e;
                fate == Fate::Goes && seen.contains("NotFound")
            }
        })
        .map_err(|e| format!("{e} ({fate:?}): {seen}"))?;
        if fate == Fate::Goes {
            return Ok(());
        }
        let status = self.k.json(&["pod", name])?["status"]["containerStatuses"][0].clone();
        if status["restartCount"] != 0 || started() != 1 {
            return Err(format!("{name} was started {} times, restartCount {}", started(), status["restartCount"]));
        }
        let Fate::Ends(code) = fate else { return Ok(()) };
        if status["state"]["terminated"]["exitCode"] != code {
            return Err(format!("{name} ended with {code}, the API says {}", status["state"]["terminated"]));
        }
        let text = self.k.run(&["logs", name])?;
        numbered(&text, 1)
            .and_then(|n| if n == LINES { Ok(()) } else { Err(format!("{n} lines of {LINES}")) })
            .map_err(|e| format!("the log of {name}: {e}"))
    }

    /// The pods that go on: container, restarts, process; their logs have no gap.
    fn steady(&self) -> Result<Vec<String>, String> {
        let all = self.k.json(&["pods", "-l", "app=steady"])?;
        let mut out = Vec::new();
        for pod in all["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let status = &pod["status"]["containerStatuses"][0];
            let id = status["containerID"].as_str().unwrap_or_default();
            let pid = self.pid(id.trim_start_matches("corten://"))?;
            numbered(&self.k.run(&["logs", name])?, 0).map_err(|e| format!("the log of {name}: {e}"))?;
            out.push(format!("{name} {id} restarts {} pid {pid}", status["restartCount"]));
        }
        out.sort();
        Ok(out)
    }

    /// The process of a container, which must live.
    fn pid(&self, container: &str) -> Result<String, String> {
        for node in below(&self.cluster.data().join("nodes")) {
            let file = node.join("runtime/containers").join(container).join("running.json");
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            let pid = value["pid"].to_string();
            return if Path::new("/proc").join(&pid).exists() {
                Ok(pid)
            } else {
                Err(format!("process {pid} is gone"))
            };
        }
        Err(format!("no node knows the container {container:?}"))
    }

    /// kill -9 of the second node's process alone: it is started again, and its pods go on.
    fn kill_node(&self, before: &[String]) -> Result<(), String> {
        let node = || {
            let is = |pid: &String| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|c| c.split(|b| *b == 0).nth(1) == Some(b"node"))
            };
            self.cluster.pids().into_iter().find(is)
        };
        let old = node().ok_or("the second node has no process")?;
        run::output(Command::new("kill").args(["-9", &old]))?;
        run::until("the second node's process is back", Duration::from_secs(30), || {
            node().is_some_and(|new| new != old)
        })?;
        let pod = before.iter().find(|p| !p.is_empty()).and_then(|p| p.split(' ').next()).unwrap_or_default();
        self.k.until("its node is there", &["exec", pod, "--", "true"], |_| true)?;
        same(before, &self.steady()?)
    }

    /// kill -9 of a shim: its containers die with it, which is told, and the pod gets a new sandbox.
    fn kill_shim(&self) -> Result<(), String> {
        let shims = shims(&self.cluster.id());
        let pods = self.k.json(&["pods", "-l", "app=steady"])?;
        let name = pods["items"][0]["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let uid = pods["items"][0]["metadata"]["uid"].as_str().unwrap_or_default().to_string();
        let mut sandbox = String::new();
        for node in below(&self.cluster.data().join("nodes")) {
            for dir in below(&node.join("runtime/sandboxes")) {
                if std::fs::read_to_string(dir.join("sandbox.json")).is_ok_and(|t| t.contains(&uid)) {
                    sandbox = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                }
            }
        }
        let (pid, _) = shims.iter().find(|(_, dir)| dir.ends_with(&sandbox)).ok_or("the pod has no shim")?;
        run::output(Command::new("kill").args(["-9", pid]))?;
        let ready = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
        self.k.until("the pod runs again", &["get", "pod", &name, "-o", ready], |t| t.trim() == "1 true")?;
        self.k.until("what happened is told", &["describe", "pod", &name], |t| t.contains("SandboxChanged"))
    }

    /// All processes and what lasts until the next boot are gone; the same data directory starts again.
    fn reboot(&self) -> Result<(), String> {
        let id = self.cluster.id();
        self.cluster.kill()?;
        let pids: Vec<String> = shims(&id).into_iter().map(|(pid, _)| pid).collect();
        run::output(Command::new("kill").arg("-9").args(&pids))?;
        run::until("all shims are gone", Duration::from_secs(20), || shims(&id).is_empty())?;
        let run_dir = format!("/run/corten-{id}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours: Vec<&str> =
            mounts.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with(&run_dir)).collect();
        run::output(Command::new("umount").arg("-l").args(ours))?;
        std::fs::remove_dir_all(&run_dir).map_err(|e| format!("{run_dir}: {e}"))?;
        self.cluster.up()?;
        self.k.until(
            "the steady pods run again",
            &["get", "daemonset", "steady", "-o", "jsonpath={.status.numberReady}"],
            |t| t.trim() == "2",
        )?;
        for (name, fate) in &self.pods {
            let path = match fate {
                Fate::Ends(_) => continue,
                _ => "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}",
            };
            self.k.until(&format!("{name} runs again"), &["get", "pod", name, "-o", path], |t| t.trim() == "1 true")?;
        }
        self.check_writes()
    }
}

/// One request, and what must have become of its pod if the server acknowledged it.
struct Trouble {
    name: String,
    /// The pod to make; empty to delete it.
    what: String,
    fate: Fate,
}

impl Kubectl<'_> {
    /// Makes or deletes a pod; whether the server said yes.
    fn apply_as(&self, name: &str, what: &str) -> bool {
        if what.is_empty() {
            return self.run(&["delete", "pod", name, "--wait=false"]).is_ok();
        }
        let file = self.cluster.dir.join(format!("{name}.yaml"));
        std::fs::write(&file, what).is_ok() && self.run(&["create", "-f", &file.display().to_string()]).is_ok()
    }
}

/// Makes and changes objects until it is told to stop; remembers what was acknowledged.
fn write(k: &Kubectl, written: &Mutex<BTreeMap<String, Written>>, writer: u64, stop: &AtomicBool) {
    let note = |name: &str, edit: &dyn Fn(&mut Written)| {
        edit(written.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_string()).or_default());
    };
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("w{writer}-{n}");
        if k.run(&["create", "configmap", &name, "--from-literal=v=1"]).is_err() {
            continue;
        }
        note(&name, &|w| w.acknowledged = "1".into());
        note(&name, &|w| w.tried = "2".into());
        if k.run(&["patch", "configmap", &name, "--type=merge", "-p", r#"{"data":{"v":"2"}}"#]).is_ok() {
            note(&name, &|w| w.acknowledged = "2".into());
        }
    }
}

fn same(before: &[String], after: &[String]) -> Result<(), String> {
    if before == after {
        return Ok(());
    }
    Err(format!("pods did not go on:\nbefore\n{}\nafter\n{}", before.join("\n"), after.join("\n")))
}

/// How many lines there are, if they are `first`, `first + 1`, ….
fn numbered(text: &str, first: usize) -> Result<usize, String> {
    for (i, line) in text.lines().enumerate() {
        if line.trim() != (first + i).to_string() {
            return Err(format!("line {} is {line:?} instead of {}", i + 1, first + i));
        }
    }
    Ok(text.lines().count())
}

fn steady() -> String {
    format!(
        r#"apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: steady}}
spec:
  selector: {{matchLabels: {{app: steady}}}}
  template:
    metadata: {{labels: {{app: steady}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: {}
        command: [sh, -c, "i=0; while :; do echo $i; i=$((i+1)); usleep 100000; done"]
"#,
        images::BUSYBOX
    )
}

fn pod(name: &str, image: &str, script: &str, starts: &Path, node: &str) -> String {
    let node = if node.is_empty() { String::new() } else { format!("\n  nodeName: {node}") };
    format!(
        r#"apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:{node}
  restartPolicy: {}
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "{image}"
    command: [sh, -c, "echo start >> /starts/{name}; {script}"]
    volumeMounts: [{{name: starts, mountPath: /starts}}]
  volumes:
  - name: starts
    hostPath: {{path: {}}}
"#,
        if script.contains("exit") { "Never" } else { "Always" },
        starts.display()
    )
}

fn below(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// Pids and directories of the cluster's shims.
fn shims(id: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for process in below(Path::new("/proc")) {
        let text = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let args: Vec<String> = String::from_utf8_lossy(&text).split('\0').map(String::from).collect();
        if args.get(1).is_some_and(|a| a == "shim")
            && args.get(3).is_some_and(|d| d.starts_with(&format!("/run/corten-{id}/")))
        {
            out.push((process.file_name().unwrap_or_default().to_string_lossy().into_owned(), args[3].clone()));
        }
    }
    out
}

/// What is left of pods though there are none.
fn leaks(cluster: &Cluster) -> Vec<String> {
    let id = cluster.id();
    let mut left: Vec<String> = shims(&id).into_iter().map(|(pid, dir)| format!("shim {pid} of {dir}")).collect();
    let mut paths = Vec::new();
    for node in below(&cluster.data().join("nodes")) {
        for dir in
            ["runtime/sandboxes", "runtime/containers", "runtime/images/tmp", "kubelet/pods", "kubelet/checkpoint"]
        {
            paths.extend(below(&node.join(dir)));
        }
        paths.extend(below(&node.join("network")).into_iter().filter(|p| p.extension().is_some_and(|e| e == "pod")));
        paths.extend(below(&node.join("logs")));
    }
    for node in below(Path::new(&format!("/run/corten-{id}"))) {
        paths.extend(below(&node.join("s")));
    }
    left.extend(paths.iter().map(|p| p.display().to_string()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let data = cluster.data().display().to_string();
    let pods_mounts = mounts.lines().filter_map(|l| l.split(' ').nth(4));
    left.extend(
        pods_mounts
            .filter(|p| p.contains(&data) || p.contains(&format!("{id}/")) && p.contains("/s/"))
            .map(String::from),
    );
    let links = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    left.extend(links.lines().filter(|l| l.trim().starts_with(&format!("cv{id}"))).map(String::from));
    let find = Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-path", &format!("*corten-{id}*")])
        .stderr(Stdio::null())
        .output();
    let groups = find.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let of_pod =
        |line: &str| line.rsplit('/').next().is_some_and(|n| n.starts_with("pod") && n != "pods" || n.len() == 64);
    left.extend(groups.lines().filter(|l| of_pod(l)).map(String::from));
    left
}
