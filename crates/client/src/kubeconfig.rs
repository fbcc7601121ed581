//! How to reach a server: kubeconfig files, and a pod's service account.

use crate::error::Error;
use base64::Engine;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Everything needed to connect.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `https://host:port[/path]`.
    pub server: String,
    /// The server's name in its certificate, if it differs from the host.
    pub tls_server_name: Option<String>,
    /// PEM of the authorities that may have signed the server's certificate.
    pub authorities: Option<Vec<u8>>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// PEM of the client's certificate chain.
    pub certificate: Option<Vec<u8>>,
    /// PEM of the client's key.
    pub key: Option<Vec<u8>>,
    /// Bearer token.
    pub token: Option<String>,
    /// A file the bearer token is read from for each connection.
    pub token_file: Option<PathBuf>,
    /// The context's namespace.
    pub namespace: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    #[serde(rename = "current-context")]
    current: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: bool,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    exec: Option<serde_json::Value>,
    #[serde(rename = "auth-provider")]
    auth_provider: Option<serde_json::Value>,
    username: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Config(format!("kubeconfig {}: {why}", path.display()))
}

impl Config {
    /// From a kubeconfig file and a context of it (default: the current one).
    pub fn load(path: &Path, context: Option<&str>) -> Result<Config, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| wrong(path, e))?;
        Config::parse(&text, path, context)
    }

    /// From a kubeconfig's text; relative file names are relative to `path`'s directory.
    pub fn parse(text: &str, path: &Path, context: Option<&str>) -> Result<Config, Error> {
        let file: File = serde_saphyr::from_str(text).map_err(|e| wrong(path, e))?;
        let wanted = context.unwrap_or(&file.current);
        let context = match file.contexts.iter().find(|c| c.name == wanted) {
            Some(named) => &named.context,
            None if wanted.is_empty() => return Err(wrong(path, "no current-context is set")),
            None => return Err(wrong(path, format!("there is no context {wanted:?}"))),
        };
        let cluster = file.clusters.iter().find(|c| c.name == context.cluster).map(|c| &c.cluster);
        let cluster = cluster.ok_or_else(|| wrong(path, format!("there is no cluster {:?}", context.cluster)))?;
        let none = User::default();
        let user = match file.users.iter().find(|u| u.name == context.user) {
            Some(named) => &named.user,
            None if context.user.is_empty() => &none,
            None => return Err(wrong(path, format!("there is no user {:?}", context.user))),
        };
        if user.exec.is_some() || user.auth_provider.is_some() || user.username.is_some() {
            return Err(wrong(
                path,
                "credentials by exec, auth-provider or password are not supported; use a certificate or a token",
            ));
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        let pem = |data: &Option<String>, file: &Option<PathBuf>| read_pem(path, dir, data.as_deref(), file.as_deref());
        Ok(Config {
            server: cluster.server.clone(),
            tls_server_name: cluster.tls_server_name.clone(),
            authorities: pem(&cluster.certificate_authority_data, &cluster.certificate_authority)?,
            insecure: cluster.insecure_skip_tls_verify,
            certificate: pem(&user.client_certificate_data, &user.client_certificate)?,
            key: pem(&user.client_key_data, &user.client_key)?,
            token: user.token.clone(),
            token_file: user.token_file.as_ref().map(|f| dir.join(f)),
            namespace: context.namespace.clone(),
        })
    }

    /// The service account of the pod that this process runs in.
    pub fn in_cluster() -> Result<Config, Error> {
        let dir = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        let var =
            |name: &str| std::env::var(name).map_err(|_| Error::Config(format!("not in a cluster: {name} is not set")));
        let (host, port) = (var("KUBERNETES_SERVICE_HOST")?, var("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let authorities =
            std::fs::read(dir.join("ca.crt")).map_err(|e| Error::Config(format!("not in a cluster: ca.crt: {e}")))?;
        Ok(Config {
            server: format!("https://{host}:{port}"),
            authorities: Some(authorities),
            token_file: Some(dir.join("token")),
            namespace: std::fs::read_to_string(dir.join("namespace")).ok(),
            ..Config::default()
        })
    }
}

fn read_pem(path: &Path, dir: &Path, data: Option<&str>, file: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match (data, file) {
        (Some(data), _) => {
            let packed: String = data.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(packed).map(Some).map_err(|e| wrong(path, e))
        }
        (None, Some(file)) => {
            let file = dir.join(file);
            std::fs::read(&file).map(Some).map_err(|e| wrong(path, format!("{}: {e}", file.display())))
        }
        (None, None) => Ok(None),
    }
}
