//! Measures the promises of `BUDGETS.md` on a release build: start, idle cost, pods, and the API under the load generator.

use crate::codegen::root;
use crate::{images, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One measured figure.
struct Figure {
    what: &'static str,
    value: f64,
    most: f64,
    unit: &'static str,
}

/// Measures everything and compares; `--only-api` leaves containers out.
pub fn run(_: &[String]) -> Result<(), String> {
    let binary = release()?;
    let mut figures = vec![Figure {
        what: "release binary",
        value: std::fs::metadata(&binary).map_err(|e| e.to_string())?.len() as f64 / 1e6,
        most: 45.0,
        unit: "MB",
    }];
    let bench = Bench::new(&binary)?;
    let result = bench.measure(&mut figures);
    let reset = bench.corten(&["reset", "--yes"]);
    result?;
    reset?;
    let _ = std::fs::remove_dir_all(&bench.dir);
    let mut over = 0;
    for f in &figures {
        let ok = f.value <= f.most;
        over += usize::from(!ok);
        println!(
            "{:<48} {:>10.2} {:<8} budget {:>8.2}  {}",
            f.what,
            f.value,
            f.unit,
            f.most,
            if ok { "held" } else { "MISSED" }
        );
    }
    if over == 0 { Ok(()) } else { Err(format!("{over} budgets are missed")) }
}

fn release() -> Result<PathBuf, String> {
    if let Ok(path) = std::env::var("CORTEN_RELEASE_BIN") {
        return Ok(path.into());
    }
    run::built(&["--release", "--package", "corten"])
}

struct Bench {
    bin: PathBuf,
    dir: PathBuf,
}

impl Bench {
    fn new(binary: &Path) -> Result<Bench, String> {
        let dir = run::scratch("budgets")?;
        let bin = dir.join("corten");
        std::fs::copy(binary, &bin).map_err(|e| e.to_string())?;
        Ok(Bench { bin, dir })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn corten(&self, args: &[&str]) -> Result<String, String> {
        let mut c = Command::new(&self.bin);
        c.args(args).arg("--data-dir").arg(self.data()).stdin(Stdio::null());
        if matches!(args[0], "up" | "reset") {
            c.arg("--key-dir").arg(self.dir.join("keys"));
        }
        run::output(&mut c)
    }

    /// Seconds from the command to a ready node.
    fn start(&self) -> Result<f64, String> {
        let began = Instant::now();
        self.corten(&["up"])?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Processes of the cluster: the daemon and its shims, not the containers.
    fn processes(&self) -> Vec<u32> {
        let bin = self.bin.display().to_string();
        let pids = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
        pids.filter(|p| {
            std::fs::read_link(format!("/proc/{p}/exe")).is_ok_and(|e| e.display().to_string().starts_with(&bin))
        })
        .collect()
    }

    /// Proportional memory of the cluster's processes, in MB.
    fn memory(&self) -> f64 {
        let pss = |p: &u32| {
            std::fs::read_to_string(format!("/proc/{p}/smaps_rollup")).ok().and_then(|t| {
                t.lines()
                    .find_map(|l| l.strip_prefix("Pss:"))
                    .and_then(|v| v.split_whitespace().next())
                    .and_then(|v| v.parse::<f64>().ok())
            })
        };
        self.processes().iter().filter_map(pss).sum::<f64>() / 1024.0
    }

    /// CPU seconds used by the cluster's processes.
    fn cpu(&self) -> f64 {
        let ticks = |p: &u32| -> Option<f64> {
            let stat = std::fs::read_to_string(format!("/proc/{p}/stat")).ok()?;
            let rest = stat.rsplit_once(')')?.1;
            let cells: Vec<&str> = rest.split_whitespace().collect();
            Some(cells.get(11)?.parse::<f64>().ok()? + cells.get(12)?.parse::<f64>().ok()?)
        };
        self.processes().iter().filter_map(ticks).sum::<f64>() / 100.0
    }

    fn measure(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        figures.push(Figure { what: "first start to node ready", value: self.start()?, most: 2.5, unit: "s" });
        self.corten(&["down"])?;
        let mut again = Vec::new();
        for _ in 0..5 {
            again.push(self.start()?);
            self.corten(&["down"])?;
        }
        figures.push(Figure {
            what: "start on an initialized directory (median of 5)",
            value: median(&mut again),
            most: 1.0,
            unit: "s",
        });
        self.start()?;
        std::thread::sleep(Duration::from_secs(10)); // idle means: nothing is starting any more
        let before = self.cpu();
        std::thread::sleep(Duration::from_secs(30));
        figures.push(Figure {
            what: "idle CPU of one core",
            value: (self.cpu() - before) / 30.0 * 100.0,
            most: 1.0,
            unit: "%",
        });
        figures.push(Figure {
            what: "idle memory (PSS of all processes)",
            value: self.memory(),
            most: 80.0,
            unit: "MB",
        });
        self.pods(figures)?;
        self.api(figures)
    }

    fn pods(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let archive = images::busybox(&self.dir)?;
        self.corten(&["image", "load", &archive.display().to_string()])?;
        let latency = |count: u32, prefix: &str, keep: bool| -> Result<Vec<f64>, String> {
            let mut c = Command::new("python3");
            c.arg(root().join("bench/pod_latency.py"))
                .arg(self.data().join("kubeconfig"))
                .arg(images::BUSYBOX)
                .arg(count.to_string())
                .arg(prefix);
            if keep {
                c.arg("keep");
            }
            serde_json::from_str(&run::output(&mut c)?).map_err(|e| e.to_string())
        };
        latency(3, "warm", false)?;
        let mut times = latency(20, "timed", false)?;
        figures.push(Figure {
            what: "pod created to ready (median of 20)",
            value: median(&mut times),
            most: 250.0,
            unit: "ms",
        });
        let (before, n) = (self.memory(), 30);
        latency(n, "kept", true)?;
        std::thread::sleep(Duration::from_secs(5)); // settled
        figures.push(Figure {
            what: "memory of a pod (shim and daemon, 30 pods)",
            value: (self.memory() - before) / f64::from(n),
            most: 2.0,
            unit: "MB",
        });
        Ok(())
    }

    /// The load generator against the yardstick of `bench/baselines.md`: upstream's CPU of API server and etcd together.
    fn api(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let kload = kload()?;
        // The API server alone, as the yardstick was measured: no controllers, scheduler or kubelet work on what is made.
        let dir = self.dir.join("api");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let server = Command::new(&self.bin)
            .arg("apiserver")
            .args([
                format!("--data-dir={}", dir.display()),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".into(),
            ])
            .arg(format!("--token-auth-file={}", root().join("golden/tokens.csv").display()))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("start the API server: {e}"))?;
        let server = run::Guard(server);
        run::until("the API server listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        let config = self.dir.join("api.kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {}}}}}]\nusers: [{{name: u, user: {{token: golden-admin-token}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n",
            dir.join("pki/ca.crt").display()
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        let target = format!("ours={},api={}", config.display(), server.0.id());
        let work = |args: &[&str]| -> Result<serde_json::Value, String> {
            let out = self.dir.join("kload.json");
            let _ = std::fs::remove_file(&out);
            run::output(
                Command::new(&kload).arg("-t").arg(&target).args(["--rounds", "1", "--json"]).arg(&out).args(args),
            )?;
            let text = std::fs::read_to_string(&out).map_err(|e| e.to_string())?;
            serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|e| e.to_string())
        };
        let cpu = |v: &serde_json::Value| find(v, "api cpu us/op");
        let upstream = [("create", 3990.0 + 980.0, 8.0), ("put", 6140.0 + 900.0, 8.0), ("apply", 9170.0 + 950.0, 8.0)];
        for (verb, theirs, ratio) in upstream {
            let v = match verb {
                "create" => work(&["create", "-n", "1000", "-c", "16"])?,
                _ => work(&["ops", "--verb", verb, "-n", "1000", "-c", "8"])?,
            };
            let what = match verb {
                "create" => "create a typical Pod, CPU",
                "put" => "put a typical Pod, CPU",
                _ => "apply a typical Pod, CPU",
            };
            figures.push(Figure { what, value: cpu(&v).unwrap_or(f64::NAN), most: theirs / ratio, unit: "us/op" });
        }
        let v = work(&["watch", "-w", "1000", "--rate", "20"])?;
        figures.push(Figure {
            what: "an event to one of 1,000 watchers, CPU",
            value: cpu(&v).unwrap_or(f64::NAN),
            most: (38.0 + 1.6) / 3.0,
            unit: "us",
        });
        let v = work(&["create", "-n", "10000", "-c", "16", "--keep"])?;
        figures.push(Figure {
            what: "10,000 typical Pods, memory of the API server",
            value: find(&v, "api rss MiB").unwrap_or(f64::NAN),
            most: (1990.0 + 807.0) / 6.0,
            unit: "MiB",
        });
        Ok(())
    }
}

/// The first number under a key that contains `part`, wherever it stands.
fn find(v: &serde_json::Value, part: &str) -> Option<f64> {
    match v {
        serde_json::Value::Object(m) => m.iter().find_map(|(k, x)| {
            if k.contains(part) && !k.contains("kload") { x.as_f64().or_else(|| find(x, part)) } else { find(x, part) }
        }),
        serde_json::Value::Array(l) => l.iter().find_map(|x| find(x, part)),
        _ => None,
    }
}

fn kload() -> Result<PathBuf, String> {
    let dir = root().join("bench/kload");
    let target = std::env::temp_dir().join("corten-kload-target");
    run::output(run::cargo(&["build", "--release", "--target-dir"]).arg(&target).current_dir(&dir))?;
    // The workspace's configuration names an explicit target.
    let found =
        ["release/kload", "x86_64-unknown-linux-gnu/release/kload"].iter().map(|p| target.join(p)).find(|p| p.exists());
    found.ok_or_else(|| "kload was not built".into())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
