//! `corten apiserver`: the API server alone, with upstream's flags.

use crate::flags::{Flags, Spec};
use crate::{paths, pki, server};
use apiserver::{ServerConfig, Settings, User};
use platform::Env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its flags.
pub const SPEC: Spec = Spec {
    component: "apiserver",
    table: include_str!("../../../facts/flags/kube-apiserver.tsv"),
    acting: &[
        ("advertise-address", "Address that the `kubernetes` service leads to."),
        (
            "allow-privileged",
            "Privileged containers are allowed; corten leaves that to Pod Security, so only `true` is accepted.",
        ),
        ("anonymous-auth", "Requests without credentials are tried as system:anonymous."),
        ("authorization-mode", "Node,RBAC (what corten does; any other list is refused)."),
        ("bind-address", "Address to listen on."),
        ("cert-dir", "Where certificates are made when no --tls-cert-file is given."),
        ("client-ca-file", "Authority of client certificates."),
        ("enable-admission-plugins", "NodeRestriction can be switched on; the default plugins are on."),
        ("etcd-cafile", "Authority of etcd's certificates."),
        ("etcd-certfile", "Certificate shown to etcd."),
        ("etcd-keyfile", "Its key."),
        ("etcd-prefix", "Stands before every key; it must end with /registry, as the default does."),
        ("etcd-servers", "etcd endpoints; without it the log store in --data-dir is used."),
        ("event-ttl", "How long Events are kept, as a duration."),
        ("kubelet-certificate-authority", "Authority of kubelets' serving certificates."),
        ("kubelet-client-certificate", "Certificate shown to kubelets."),
        ("kubelet-client-key", "Its key."),
        ("max-mutating-requests-inflight", "Writes that are answered at once; others wait in line."),
        ("max-requests-inflight", "Reads that are answered at once; others wait in line."),
        ("secure-port", "Port to listen on."),
        ("service-account-issuer", "Issuer of service account tokens."),
        (
            "service-account-key-file",
            "Accepted for upstream's sake: must be the signing key's file or its public half.",
        ),
        ("service-account-signing-key-file", "P-256 key that signs service account tokens."),
        ("service-cluster-ip-range", "Range of service addresses."),
        ("service-node-port-range", "Range of node ports."),
        ("tls-cert-file", "Serving certificate."),
        ("tls-private-key-file", "Its key."),
        ("token-auth-file", "CSV of static tokens: token,user,uid,\"groups\"."),
    ],
    own: &[("data-dir", "Where the log store, certificates and keys live when no etcd is used.")],
    config: None,
};

/// Runs until it is ended.
pub async fn run(args: &[String]) -> Result<(), String> {
    let flags = SPEC.parse(args)?;
    let env = Env::system("apiserver");
    let options = options(&env, &flags).await?;
    let listen = options.listen[0];
    let _server = server::start(&env, options).await?;
    tracing::info!(%listen, "the API server is ready");
    crate::cli::until_signal().await;
    Ok(())
}

async fn options(env: &Env, flags: &Flags) -> Result<server::Options, String> {
    let now = env.wall().unix_seconds();
    let data = flags.path("data-dir").unwrap_or_else(|| PathBuf::from(paths::DATA_DIR));
    let cert_dir = flags.path("cert-dir").unwrap_or_else(|| data.join("pki"));
    let plugins = plugins(flags)?;
    let bind: IpAddr = flags.parsed("bind-address", IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
    let port: u16 = flags.parsed("secure-port", 6443)?;
    let advertise: IpAddr = flags
        .parsed("advertise-address", if bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { bind })?;
    let cidr = parse_cidr(flags.get("service-cluster-ip-range").unwrap_or("10.0.0.0/24"))?;
    let store = match flags.get("etcd-servers") {
        Some(servers) => crate::etcd_store::open(env, flags, servers, &data.join("encryption.key")).await?,
        None => server::open_log(env, &data.join("store"), &data.join("encryption.key")).await?,
    };
    let pair = serving(flags, &cert_dir, advertise, cidr, now)?;
    let client_ca = flags.path("client-ca-file").map(|p| paths::read(&p)).transpose()?;
    let signing = flags.path("service-account-signing-key-file").unwrap_or_else(|| cert_dir.join("sa.key"));
    let ports = flags.get("service-node-port-range").unwrap_or("30000-32767");
    let node_ports = ports
        .split_once('-')
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
        .ok_or_else(|| format!("flag --service-node-port-range: {ports:?} is no range such as 30000-32767"))?;
    let ttl = flags
        .get("event-ttl")
        .map_or(Some(3_600_000_000_000), api::time::parse_duration)
        .ok_or("flag --event-ttl: no duration such as 1h0m0s")?;
    let defaults = ServerConfig::default();
    Ok(server::Options {
        store,
        settings: Settings {
            issuer: flags.get("service-account-issuer").unwrap_or("https://kubernetes.default.svc").into(),
            service_cidr: cidr,
            node_ports,
            advertise: (advertise, port),
            node_restriction: plugins.iter().any(|p| p == "NodeRestriction"),
            service_account_admission: true,
            event_ttl_seconds: ttl / 1_000_000_000,
        },
        config: ServerConfig {
            tokens: tokens(flags)?,
            anonymous: flags.bool("anonymous-auth", true)?,
            anonymous_paths: None,
            kubelet: kubelet_client(flags)?,
            reads_max: flags.parsed("max-requests-inflight", defaults.reads_max)?,
            writes_max: flags.parsed("max-mutating-requests-inflight", defaults.writes_max)?,
            ..defaults
        },
        signer: pki::signer(&signing)?,
        listen: vec![SocketAddr::new(bind, port)],
        tls: pki::server_config(&pair, client_ca.as_deref())?,
    })
}

/// The admission plugins that are switched on beyond the default; refuses what is not supported.
fn plugins(flags: &Flags) -> Result<Vec<String>, String> {
    for (flag, want) in [("authorization-mode", "Node,RBAC"), ("allow-privileged", "true")] {
        if let Some(v) = flags.get(flag)
            && v != want
        {
            return Err(format!("flag --{flag}: only {want} is supported, got {v}"));
        }
    }
    let plugins = flags.list("enable-admission-plugins");
    if let Some(p) = plugins.iter().find(|p| *p != "NodeRestriction") {
        return Err(format!("flag --enable-admission-plugins: {p} cannot be switched on yet"));
    }
    Ok(plugins)
}

/// The serving certificate that was given, or one of our own authority.
fn serving(
    flags: &Flags,
    cert_dir: &Path,
    advertise: IpAddr,
    cidr: (Ipv4Addr, u8),
    now: i64,
) -> Result<pki::Pair, String> {
    match (flags.path("tls-cert-file"), flags.path("tls-private-key-file")) {
        (Some(cert), Some(key)) => Ok(pki::Pair { cert: paths::read(&cert)?, key: paths::read(&key)? }),
        _ => {
            let authority = pki::Authority::open(cert_dir, now)?;
            let names = [
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ]
            .map(String::from);
            let addresses =
                [advertise, IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::from(u32::from(cidr.0) + 1))];
            let stamp = format!("{names:?} {addresses:?}");
            authority.kept(
                cert_dir,
                "apiserver",
                || authority.server("kube-apiserver", &names, &addresses, now),
                &stamp,
                now,
            )
        }
    }
}

/// How the server shows itself to kubelets, if it was told.
fn kubelet_client(flags: &Flags) -> Result<Option<Arc<rustls::ClientConfig>>, String> {
    let path = |flag: &str| flags.path(flag);
    match (path("kubelet-client-certificate"), path("kubelet-client-key"), path("kubelet-certificate-authority")) {
        (Some(cert), Some(key), Some(ca)) => {
            let pair = pki::Pair { cert: paths::read(&cert)?, key: paths::read(&key)? };
            Ok(Some(pki::client_config(&paths::read(&ca)?, &pair)?))
        }
        (None, None, None) => Ok(None),
        _ => Err("flags --kubelet-client-certificate, --kubelet-client-key and --kubelet-certificate-authority are needed together".into()),
    }
}

/// `10.96.0.0/16`.
pub fn parse_cidr(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let fail = || format!("{text:?} is no IPv4 range such as 10.96.0.0/16");
    let (ip, bits) = text.split_once('/').ok_or_else(fail)?;
    let (ip, bits): (Ipv4Addr, u8) = (ip.parse().map_err(|_| fail())?, bits.parse().map_err(|_| fail())?);
    if bits > 30 { Err(fail()) } else { Ok((ip, bits)) }
}

fn tokens(flags: &Flags) -> Result<Vec<(String, User)>, String> {
    let Some(path) = flags.path("token-auth-file") else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (i, line) in paths::read(&path)?.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let cells: Vec<&str> = line.splitn(4, ',').collect();
        let [token, name, uid, rest @ ..] = &cells[..] else {
            return Err(format!("{} line {}: token,user,uid are needed", path.display(), i + 1));
        };
        let groups = rest.first().map(|g| g.trim_matches('"')).unwrap_or_default();
        let groups = groups.split(',').map(str::trim).filter(|g| !g.is_empty()).map(String::from).collect();
        out.push((
            token.trim().to_string(),
            User { name: name.trim().into(), uid: uid.trim().into(), groups, extra: Vec::new() },
        ));
    }
    Ok(out)
}
