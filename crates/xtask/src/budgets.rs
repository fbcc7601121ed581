//! Measures the promises of `BUDGETS.md` on a release build: start, idle cost, pods, and the API under the load generator.

mod api;

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

const USAGE: &str = "usage: cargo xtask budgets [--only-api] [--peer-apiserver=FILE --peer-etcd=FILE]

  --only-api              leave the cluster out: no root, no containers
  --peer-apiserver=FILE   upstream's kube-apiserver, and
  --peer-etcd=FILE        etcd: both servers take the same load in turns, and the ratios are what is judged.
                          Without them the CPU is compared with the figures of bench/baselines.md, which is fair
                          only on a machine as fast as the one they were taken on
";

/// What the command line asks for.
#[derive(Default)]
struct Options {
    only_api: bool,
    peer: Option<api::Peer>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, String> {
        let (mut only_api, mut apiserver, mut etcd) = (false, None, None);
        for arg in args {
            match arg.split_once('=') {
                None if arg == "--only-api" => only_api = true,
                Some(("--peer-apiserver", file)) => apiserver = Some(PathBuf::from(file)),
                Some(("--peer-etcd", file)) => etcd = Some(PathBuf::from(file)),
                _ => return Err(format!("unknown argument {arg:?}\n\n{USAGE}")),
            }
        }
        let peer = match (apiserver, etcd) {
            (Some(apiserver), Some(etcd)) => Some(api::Peer { apiserver, etcd }),
            (None, None) => None,
            _ => return Err(format!("a peer is an API server and its etcd: give both\n\n{USAGE}")),
        };
        Ok(Options { only_api, peer })
    }
}

/// Measures everything and compares.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let binary = release()?;
    let mut figures = vec![Figure {
        what: "release binary",
        value: std::fs::metadata(&binary).map_err(|e| e.to_string())?.len() as f64 / 1e6,
        most: 45.0,
        unit: "MB",
    }];
    let bench = Bench::new(&binary)?;
    if !options.only_api {
        let result = bench.cluster(&mut figures);
        let reset = bench.corten(&["reset", "--yes"]);
        result?;
        reset?;
    }
    api::measure(&bench.bin, &bench.dir, options.peer.as_ref(), &mut figures)?;
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

    fn cluster(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
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
        self.pods(figures)
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
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
