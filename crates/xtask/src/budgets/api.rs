//! The API server alone under the load generator in `bench/kload`: against upstream's API server and etcd where they are
//! at hand, both in one run, taking turns; otherwise against the figures of `bench/baselines.md`.

use super::{Figure, median};
use crate::codegen::root;
use crate::run;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Upstream's binaries.
pub struct Peer {
    pub apiserver: PathBuf,
    pub etcd: PathBuf,
}

/// A workload, and what of it is promised: at most `1 / share` of what upstream's API server and etcd need.
struct Work {
    what: &'static str,
    args: &'static [&'static str],
    /// What of kload's figures counts, of every process of a server.
    figure: &'static str,
    unit: &'static str,
    /// Of `bench/baselines.md`, API server and etcd.
    yardstick: f64,
    share: f64,
    rounds: u32,
}

const WORKS: &[Work] = &[
    Work {
        what: "create a typical Pod, CPU",
        args: &["create", "-n", "1000", "-c", "16"],
        figure: "cpu us/op",
        unit: "us",
        yardstick: 3990.0 + 980.0,
        share: 8.0,
        rounds: 3,
    },
    Work {
        what: "put a typical Pod, CPU",
        args: &["ops", "--verb", "put", "-n", "1000", "-c", "8"],
        figure: "cpu us/op",
        unit: "us",
        yardstick: 6140.0 + 900.0,
        share: 8.0,
        rounds: 3,
    },
    Work {
        what: "apply a typical Pod, CPU",
        args: &["ops", "--verb", "apply", "-n", "1000", "-c", "8"],
        figure: "cpu us/op",
        unit: "us",
        yardstick: 9170.0 + 950.0,
        share: 8.0,
        rounds: 3,
    },
    Work {
        what: "an event to one of 1,000 watchers, CPU",
        args: &["watch", "-w", "1000", "--rate", "17", "--encoding", "proto"],
        figure: "cpu us/op",
        unit: "us",
        yardstick: 38.0 + 1.6,
        share: 3.0,
        rounds: 3,
    },
    Work {
        what: "10,000 typical Pods, memory",
        args: &["create", "-n", "10000", "-c", "16", "--keep"],
        figure: "rss MiB",
        unit: "MiB",
        yardstick: 1990.0 + 807.0,
        share: 6.0,
        rounds: 1,
    },
];

/// Puts every workload on the server in `bin`, and on the peer.
pub fn measure(bin: &Path, dir: &Path, peer: Option<&Peer>, figures: &mut Vec<Figure>) -> Result<(), String> {
    let kload = kload()?;
    let ours = Server::ours(bin, &dir.join("api"))?;
    ours.ready(&kload)?;
    let theirs = peer.map(|p| Server::theirs(p, &ours.dir, &dir.join("peer"))).transpose()?;
    theirs.iter().try_for_each(|t| t.ready(&kload))?;
    for work in WORKS {
        let out = dir.join("kload.json");
        let _ = std::fs::remove_file(&out);
        let mut c = Command::new(&kload);
        c.args(["--rounds", &work.rounds.to_string(), "--json"]).arg(&out);
        for server in std::iter::once(&ours).chain(&theirs) {
            c.arg("-t").arg(server.target());
        }
        run::output(c.args(work.args))?;
        let text = std::fs::read_to_string(&out).map_err(|e| e.to_string())?;
        let mine = figure(&text, &ours, work)?;
        figures.push(match &theirs {
            None => Figure { what: work.what, value: mine, most: work.yardstick / work.share, unit: work.unit },
            Some(server) => {
                let upstream = figure(&text, server, work)?;
                println!("{}: {mine:.1} {}, upstream {upstream:.1}: 1/{:.1}", work.what, work.unit, upstream / mine);
                Figure { what: work.what, value: mine / upstream, most: 1.0 / work.share, unit: "of peer" }
            }
        });
    }
    Ok(())
}

/// Of a server's processes together; the median of the rounds.
fn figure(lines: &str, server: &Server, work: &Work) -> Result<f64, String> {
    let rounds = lines
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter(|v| v["target"] == server.name);
    let of_one = |v: serde_json::Value| -> Option<f64> {
        server.processes.iter().map(|(label, _)| v["figures"][format!("{label} {}", work.figure)].as_f64()).sum()
    };
    let mut values: Vec<f64> = rounds.filter_map(of_one).collect();
    if values.len() != work.rounds as usize {
        return Err(format!("{}: kload's answer lacks {:?} of {}:\n{lines}", work.what, work.figure, server.name));
    }
    Ok(median(&mut values))
}

/// A running API server, with what it stores in.
struct Server {
    name: &'static str,
    dir: PathBuf,
    port: u16,
    processes: Vec<(&'static str, run::Guard)>,
}

impl Server {
    /// The API server alone, as the yardstick was measured: no controllers, scheduler or kubelet work on what is made.
    fn ours(bin: &Path, dir: &Path) -> Result<Server, String> {
        std::fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
        let port = run::free_port()?;
        let mut c = Command::new(bin);
        c.arg("apiserver")
            .arg(format!("--data-dir={}", dir.display()))
            .arg(format!("--secure-port={port}"))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--token-auth-file={}", root().join("golden/tokens.csv").display()));
        Ok(Server { name: "ours", dir: dir.into(), port, processes: vec![("api", spawn(&mut c)?)] })
    }

    /// Upstream's, with keys and certificates of ours and durable etcd, as the yardstick was measured.
    fn theirs(peer: &Peer, ours: &Path, dir: &Path) -> Result<Server, String> {
        std::fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
        let (port, etcd_port, peer_port) = (run::free_port()?, run::free_port()?, run::free_port()?);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut etcd = Command::new(&peer.etcd);
        etcd.arg(format!("--data-dir={}", dir.join("etcd").display()))
            .arg(format!("--listen-client-urls={}", url(etcd_port)))
            .arg(format!("--advertise-client-urls={}", url(etcd_port)))
            .arg(format!("--listen-peer-urls={}", url(peer_port)))
            .arg(format!("--initial-advertise-peer-urls={}", url(peer_port)))
            .arg(format!("--initial-cluster=default={}", url(peer_port)));
        let etcd = spawn(&mut etcd)?;
        let pki = ours.join("pki");
        let (key, public) = (dir.join("sa.key"), dir.join("sa.pub"));
        run::output(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        run::output(Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public))?;
        let mut api = Command::new(&peer.apiserver);
        api.arg(format!("--etcd-servers={}", url(etcd_port)))
            .arg(format!("--secure-port={port}"))
            .args(["--bind-address=127.0.0.1", "--authorization-mode=Node,RBAC", "--allow-privileged=true"])
            .args([
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
            ])
            .arg(format!("--cert-dir={}", dir.display()))
            .arg(format!("--tls-cert-file={}", pki.join("apiserver.crt").display()))
            .arg(format!("--tls-private-key-file={}", pki.join("apiserver.key").display()))
            .arg(format!("--client-ca-file={}", pki.join("ca.crt").display()))
            .arg(format!("--service-account-key-file={}", public.display()))
            .arg(format!("--service-account-signing-key-file={}", key.display()))
            .arg(format!("--token-auth-file={}", root().join("golden/tokens.csv").display()));
        let api = spawn(&mut api)?;
        // The API server stands first, so that it ends before its store.
        Ok(Server { name: "upstream", dir: ours.into(), port, processes: vec![("api", api), ("etcd", etcd)] })
    }

    /// Writes its kubeconfig and waits until it serves.
    fn ready(&self, kload: &Path) -> Result<(), String> {
        let config = self.kubeconfig();
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{}\", certificate-authority: {}}}}}]\nusers: [{{name: u, user: {{token: golden-admin-token}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n",
            self.port,
            self.dir.join("pki/ca.crt").display()
        );
        std::fs::write(&config, text).map_err(|e| format!("write {}: {e}", config.display()))?;
        run::until(&format!("{} serves", self.name), Duration::from_secs(60), || {
            run::output(Command::new(kload).arg("-t").arg(self.target()).arg("clean")).is_ok()
        })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", self.name))
    }

    /// As kload's `--target` wants it.
    fn target(&self) -> String {
        let processes: String = self.processes.iter().map(|(label, p)| format!(",{label}={}", p.0.id())).collect();
        format!("{}={}{processes}", self.name, self.kubeconfig().display())
    }
}

fn spawn(c: &mut Command) -> Result<run::Guard, String> {
    let child = c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map(run::Guard).map_err(|e| format!("start {c:?}: {e}"))
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
