//! Swaps: every component as a process of its own with upstream's flags and configuration files, on a real etcd, one node
//! with the embedded runtime and one with Debian's containerd; together they are a cluster in which a Deployment behind a
//! Service runs. Then `corten up` over the same containerd.
//!
//! All of it lives in a network namespace of its own, so that it meets nobody's ports, addresses and rules.

use super::{Cluster, Kubectl, fetch};
use crate::{images, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const ADDRESS: &str = "192.168.77.1";
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays the scenario.
pub fn run(cluster: &Cluster) -> Result<(), String> {
    let lab = Lab::new(cluster)?;
    let parts = lab.parts();
    let result = parts.and_then(|parts| {
        let one = lab.deployment().map_err(|e| lab.explain(e))?;
        drop(parts);
        Ok(one)
    });
    result?;
    println!("e2e: each component alone, on etcd, embedded runtime and containerd: a cluster");
    lab.up_on_containerd()?;
    println!("e2e: `corten up` over containerd");
    Ok(())
}

/// The namespace and the files of the scenario; all gone with the value.
struct Lab<'a> {
    cluster: &'a Cluster,
    dir: PathBuf,
    netns: String,
    /// Eight hexadecimal digits for names in the kernel.
    id: String,
}

/// Processes that run as long as the value lives.
type Parts = Vec<run::Guard>;

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        let script = format!(
            r#"
            for p in $(pgrep -f '[s]him.*{id}') $(pgrep -f '[c]ontainerd-[s]him.*{dir}'); do kill -9 $p; done
            for i in 1 2 3 4 5 6 7 8 9 10; do
                awk '{{print $5}}' /proc/self/mountinfo | grep -E '^(/run/corten-{id}|{dir})/' | sort -r | xargs -r -n1 umount -l
                find /sys/fs/cgroup -depth -type d \( -path '*corten-{id}*' -o -path '*/swap-{id}*' -o -path '*/kubepods*' \) -exec rmdir {{}} + 2>/dev/null && break
            done
            rm -rf /run/corten-{id}
            ip netns del {netns}
            "#,
            id = self.id,
            dir = self.dir.display(),
            netns = self.netns
        );
        let _ = Command::new("sh").arg("-c").arg(script).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Lab<'_> {
    fn new(cluster: &Cluster) -> Result<Lab<'_>, String> {
        let id = format!("{:08x}", std::process::id());
        let lab = Lab { cluster, dir: cluster.dir.clone(), netns: format!("swap-{id}"), id };
        let n = &lab.netns;
        lab.sh(&format!(
            "ip netns add {n} && ip -n {n} link set lo up && ip -n {n} link add d0 type veth peer name d1 && ip -n {n} link set d1 up && ip -n {n} addr add {ADDRESS}/24 dev d0 && ip -n {n} link set d0 up && ip -n {n} route add default via 192.168.77.254"
        ))?;
        Ok(lab)
    }

    fn sh(&self, script: &str) -> Result<String, String> {
        run::output(Command::new("sh").arg("-ec").arg(script).current_dir(&self.dir))
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// A program inside the namespace.
    fn inside(&self, program: &Path) -> Command {
        let mut c = Command::new("nsenter");
        c.arg(format!("--net=/run/netns/{}", self.netns)).arg(program).stdin(Stdio::null()).current_dir(&self.dir);
        c
    }

    /// Starts a program inside the namespace; it logs to `NAME.out`.
    fn start(&self, name: &str, program: &str, args: &[&str]) -> Result<run::Guard, String> {
        let out = std::fs::File::create(self.dir.join(format!("{name}.out"))).map_err(|e| e.to_string())?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let child = self.inside(Path::new(program)).args(args).stdout(out).stderr(err).spawn();
        child.map(run::Guard).map_err(|e| format!("start {name}: {e}"))
    }

    /// Starts a component of ours.
    fn component(&self, name: &str, args: &[String]) -> Result<run::Guard, String> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.start(name, &self.cluster.bin.display().to_string(), &args)
    }

    /// An error with the last lines of every log.
    fn explain(&self, e: String) -> String {
        let logs = self.sh("for f in *.out; do echo \"== $f\"; tail -n 6 $f | cut -c1-900; done").unwrap_or_default();
        format!("{e}\n{logs}")
    }

    /// An authority; what it signs: the API server for itself and towards kubelets, and the kubelets.
    fn certificates(&self) -> Result<(), String> {
        self.sh(&format!(
            r#"
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=swap -days 2 2>/dev/null
            sign() {{
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "$2" 2>/dev/null
                printf "subjectAltName=IP:{ADDRESS},IP:127.0.0.1,IP:10.111.0.1,DNS:kubernetes.default.svc" >$1.ext
                openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $1.ext -out $1.crt 2>/dev/null
            }}
            sign server /CN=kube-apiserver
            sign client /O=system:masters/CN=kube-apiserver-kubelet-client
            sign kubelet /CN=kubelet
            "#
        ))
        .map(drop)
    }

    fn kubeconfig(&self, user: &str) -> Result<String, String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'https://{ADDRESS}:6443', certificate-authority: {}/ca.crt}}}}]\nusers: [{{name: u, user: {{token: token-{user}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
            self.dir.display()
        );
        self.write(&format!("{user}.kubeconfig"), &text)
    }

    /// Starts everything.
    fn parts(&self) -> Result<Parts, String> {
        self.certificates()?;
        let tokens = "token-admin,admin,1,\"system:masters\"\ntoken-cm,system:kube-controller-manager,2\ntoken-scheduler,system:kube-scheduler,3\ntoken-proxy,system:kube-proxy,4\ntoken-one,system:node:one,5,\"system:nodes\"\ntoken-two,system:node:two,6,\"system:nodes\"\n";
        let tokens = self.write("tokens.csv", tokens)?;
        std::fs::create_dir_all(self.cluster.data()).map_err(|e| e.to_string())?;
        std::fs::rename(self.kubeconfig("admin")?, self.cluster.data().join("kubeconfig"))
            .map_err(|e| e.to_string())?;
        let mut parts = vec![self.etcd()?, self.registry()?, self.containerd()?];
        let at = |name: &str| self.dir.join(name).display().to_string();
        let server = format!(
            "apiserver --etcd-servers=http://127.0.0.1:2379 --data-dir={} --bind-address={ADDRESS} --secure-port=6443 --advertise-address={ADDRESS} --service-cluster-ip-range=10.111.0.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --token-auth-file={tokens} --client-ca-file={ca} --tls-cert-file={} --tls-private-key-file={} --kubelet-client-certificate={} --kubelet-client-key={} --kubelet-certificate-authority={ca} --etcd-prefix=/registry --storage-backend=etcd3 --v=2",
            at("api"),
            at("server.crt"),
            at("server.key"),
            at("client.crt"),
            at("client.key"),
            ca = at("ca.crt"),
        );
        parts.push(self.component("apiserver", &words(&server))?);
        let k = self.kubectl();
        k.until("the API server answers", &["get", "--raw", "/readyz"], |t| t.trim() == "ok")
            .map_err(|e| self.explain(e))?;
        let cm = format!(
            "controller-manager --kubeconfig={} --use-service-account-credentials=true --allocate-node-cidrs=true --cluster-cidr=10.222.0.0/16 --root-ca-file={} --leader-elect=true --leader-elect-lease-duration=15s",
            self.kubeconfig("cm")?,
            at("ca.crt")
        );
        parts.push(self.component("controller-manager", &words(&cm))?);
        let scheduler = format!(
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nclientConnection: {{kubeconfig: {}}}\nleaderElection: {{leaderElect: true}}\nprofiles: [{{schedulerName: default-scheduler}}]\n",
            self.kubeconfig("scheduler")?
        );
        let scheduler = self.write("scheduler.yaml", &scheduler)?;
        parts.push(self.component("scheduler", &words(&format!("scheduler --config={scheduler}")))?);
        let proxy = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclientConnection: {{kubeconfig: {}}}\nclusterCIDR: 10.222.0.0/16\nmode: nftables\nhostnameOverride: one\n",
            self.kubeconfig("proxy")?
        );
        let proxy = self.write("proxy.yaml", &proxy)?;
        let args = format!("proxy --config={proxy} --cluster-id={} --service-cluster-ip-range=10.111.0.0/16", self.id);
        parts.push(self.component("proxy", &words(&args))?);
        parts.push(self.kubelet("one", 10250, "")?);
        let endpoint = format!("containerRuntimeEndpoint: unix://{}\n", at("containerd.sock"));
        parts.push(self.kubelet("two", 10260, &endpoint)?);
        Ok(parts)
    }

    /// A kubelet with a configuration file; `more` are lines of it.
    fn kubelet(&self, name: &str, port: u16, more: &str) -> Result<run::Guard, String> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nport: {port}\nclusterDNS: [10.111.0.10]\nfailCgroupV1: false\npodLogsDir: {}\ntlsCertFile: {}\ntlsPrivateKeyFile: {}\nauthentication: {{x509: {{clientCAFile: {}}}}}\n{more}",
            at(&format!("logs-{name}")),
            at("kubelet.crt"),
            at("kubelet.key"),
            at("ca.crt"),
        );
        let config = self.write(&format!("kubelet-{name}.yaml"), &config)?;
        let args = format!(
            "kubelet --config={config} --kubeconfig={} --hostname-override={name} --root-dir={} --node-labels=swap={name} --cluster-id={} --cluster-cidr=10.222.0.0/16 --service-cluster-ip-range=10.111.0.0/16",
            self.kubeconfig(name)?,
            at(&format!("kubelet-{name}")),
            self.id
        );
        self.component(&format!("kubelet-{name}"), &words(&args))
    }

    fn etcd(&self) -> Result<run::Guard, String> {
        let dir = self.dir.join("etcd").display().to_string();
        let url = "http://127.0.0.1:2379";
        let peers = "http://127.0.0.1:2380";
        let args = ["--data-dir", &dir, "--listen-client-urls", url, "--advertise-client-urls", url];
        let peers = [
            "--listen-peer-urls",
            peers,
            "--initial-advertise-peer-urls",
            peers,
            "--initial-cluster",
            "default=http://127.0.0.1:2380",
        ];
        self.start("etcd", "etcd", &[&args[..], &peers[..]].concat())
    }

    /// A registry inside the namespace, with the test image and one that can be a sandbox.
    fn registry(&self) -> Result<run::Guard, String> {
        let root = self.dir.join("registry").display().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: \"127.0.0.1:5000\"}}\n"
        );
        let config = self.write("registry.yml", &config)?;
        let registry = self.start("registry", "docker-registry", &["serve", &config])?;
        for (archive, name) in [(images::busybox(&self.dir)?, "busybox"), (images::pause(&self.dir)?, "pause")] {
            let (from, to) =
                (format!("docker-archive:{}", archive.display()), format!("docker://127.0.0.1:5000/{name}:1"));
            let mut last = String::new();
            let mut push = || {
                let mut skopeo = self.inside(Path::new("skopeo"));
                skopeo.args(["copy", "-q", "--dest-tls-verify=false", &from, &to]);
                run::output(&mut skopeo).map_err(|e| last = e).is_ok()
            };
            run::until("the registry takes images", PATIENCE, &mut push).map_err(|e| format!("{e}: {last}"))?;
        }
        Ok(registry)
    }

    /// Debian's containerd, with files, socket and network of its own.
    fn containerd(&self) -> Result<run::Guard, String> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        std::fs::create_dir_all(self.dir.join("cni")).map_err(|e| e.to_string())?;
        self.write(
            "cni/10-swap.conflist",
            r#"{"cniVersion": "0.4.0", "name": "swap", "plugins": [{"type": "bridge", "bridge": "swap0", "isGateway": true, "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.222.200.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}"#,
        )?;
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\n  address = \"{}\"\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"127.0.0.1:5000/pause:1\"\n  restrict_oom_score_adj = true\n  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"/usr/lib/cni\"\n    conf_dir = \"{}\"\n",
            at("containerd-root"),
            at("containerd-state"),
            at("containerd.sock"),
            at("cni")
        );
        let config = self.write("containerd.toml", &config)?;
        self.start("containerd", "containerd", &["--config", &config])
    }

    fn kubectl(&self) -> Kubectl<'_> {
        let mut k = self.cluster.kubectls().remove(0);
        k.command =
            ["nsenter".into(), format!("--net=/run/netns/{}", self.netns)].into_iter().chain(k.command).collect();
        k
    }

    /// A Deployment on both nodes behind a Service, reached by its address from each of its pods.
    fn deployment(&self) -> Result<(), String> {
        let k = self.kubectl();
        k.until("both nodes are ready", &["get", "nodes", "--no-headers"], |t| t.matches(" Ready ").count() == 2)?;
        k.apply(&web())?;
        k.run(&["rollout", "status", "deployment/web", "--timeout=40s"])?;
        let pods = k.json(&["pods", "-l", "app=web"])?;
        let pods: Vec<(String, String)> = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| {
                (
                    p["metadata"]["name"].as_str().unwrap_or_default().into(),
                    p["spec"]["nodeName"].as_str().unwrap_or_default().into(),
                )
            })
            .collect();
        if !["one", "two"].iter().all(|n| pods.iter().any(|(_, node)| node == n)) {
            return Err(format!("the pods are not on both nodes: {pods:?}"));
        }
        let ip = k.run(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])?;
        for (pod, node) in &pods {
            k.until(
                &format!("the service answers a pod on {node}"),
                &["exec", pod, "--", "sh", "-c", &fetch(&ip)],
                |t| t.contains("hello"),
            )?;
            k.until("the log is there", &["logs", pod], |t| t.contains("begun"))?;
        }
        k.run(&["delete", "deployment/web", "service/web"])?;
        k.until("its pods are gone", &["get", "pods", "-o", "name"], |t| t.trim().is_empty())
    }

    /// The whole of Corten over the same containerd.
    fn up_on_containerd(&self) -> Result<(), String> {
        std::fs::remove_dir_all(self.cluster.data()).map_err(|e| e.to_string())?;
        let _registry = self.registry()?;
        let _containerd = self.containerd()?;
        let socket = self.dir.join("containerd.sock");
        let endpoint = format!("unix://{}", socket.display());
        let corten = |args: &[&str]| {
            let mut c = self.inside(&self.cluster.bin);
            c.args(args).arg("--data-dir").arg(self.cluster.data());
            run::output(&mut c)
        };
        let keys = self.dir.join("keys").display().to_string();
        run::until("containerd listens", PATIENCE, || std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
        corten(&["up", "--container-runtime-endpoint", &endpoint, "--key-dir", &keys])?;
        let k = self.kubectl();
        k.apply(&web().replace("replicas: 4", "replicas: 1"))?;
        let ready = k.run(&["rollout", "status", "deployment/web", "--timeout=40s"]);
        ready.map_err(|e| self.explain(e))?;
        let id = "jsonpath={.items[0].status.containerStatuses[0].containerID}";
        let get = ["get", "pods", "-l", "app=web", "-o", id];
        let before = k.run(&get)?;
        if !before.starts_with("containerd://") {
            return Err(format!("the pod's container is {before}, not containerd's"));
        }
        // What was asked for at first holds for the next start, too.
        corten(&["down"])?;
        corten(&["up"])?;
        k.until("its pod goes on", &get, |t| t == before)?;
        k.run(&["delete", "deployment/web", "service/web"])?;
        k.until("its pods are gone", &["get", "pods", "-o", "name"], |t| t.trim().is_empty())?;
        corten(&["reset", "--yes"]).map(drop)
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

fn web() -> String {
    r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: 127.0.0.1:5000/busybox:1
        command: [sh, -c, "echo begun; echo hello >/www/index.html; exec httpd -f -v -p 8080 -h /www"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#
    .into()
}
