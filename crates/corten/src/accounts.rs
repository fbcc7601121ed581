//! `--use-service-account-credentials`: each controller acts as a service account of its own, with a token that the
//! controller manager asks for in its name and renews.
//!
//! Tokens lie in files of mode 0600 below `/run`, from which the client reads them for each request; they go with the value.

use crate::paths;
use client::{At, Client, Config, Https, resources};
use platform::Env;
use platform::time::{Duration, sleep};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long a token lasts, and when the next one is asked for.
const LASTS: u64 = 3600;
const RENEW: Duration = Duration::from_secs(LASTS / 2);
const RETRY: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-system";

/// The accounts of one controller manager.
pub struct Accounts {
    env: Env,
    config: Config,
    client: Client,
    dir: PathBuf,
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir); // the tokens end by themselves
    }
}

impl Accounts {
    /// Accounts that `client`, which was made from `config`, may ask tokens for.
    pub fn new(env: &Env, config: &Config, client: &Client) -> Result<Accounts, String> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = PathBuf::from(format!("/run/corten-controller-manager-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|e| format!("make {}: {e}", dir.display()))?;
        Ok(Accounts { env: env.clone(), config: config.clone(), client: client.clone(), dir })
    }

    /// A client with the account's identity; waits for its first token.
    pub async fn client(&self, name: &str) -> Client {
        let file = self.dir.join(name);
        while let Err(error) = renew(&self.client, name, &file).await {
            tracing::warn!(account = name, error, "no token for a controller yet; trying again");
            sleep(RETRY).await;
        }
        let (asker, account, path) = (self.client.clone(), name.to_string(), file.clone());
        self.env.spawn("renew a controller's token", async move {
            loop {
                sleep(RENEW).await;
                while let Err(error) = renew(&asker, &account, &path).await {
                    tracing::warn!(account, error, "a controller's token is not renewed yet; trying again");
                    sleep(RETRY).await;
                }
            }
        });
        let config =
            Config { certificate: None, key: None, token: None, token_file: Some(file), ..self.config.clone() };
        match Https::new(&self.env, config) {
            Ok(https) => Client::new(Arc::new(https), "kube-controller-manager"),
            Err(error) => {
                // The same settings already worked for the manager's own client.
                tracing::error!(%error, account = name, "a controller acts with the manager's own identity");
                self.client.clone()
            }
        }
    }
}

/// Gets a token, making the account if it is not there.
async fn renew(client: &Client, name: &str, file: &Path) -> Result<(), String> {
    let at = At { resource: &resources::SERVICEACCOUNTS, namespace: NAMESPACE, name };
    let request =
        json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"expirationSeconds": LASTS}});
    let answer = match client.post(at, "token", &request).await {
        Err(e) if e.is_not_found() => {
            let account = json!({"metadata": {"name": name, "namespace": NAMESPACE}});
            match client.create(&resources::SERVICEACCOUNTS, NAMESPACE, account).await {
                Err(e) if !e.is_already_exists() => return Err(e.to_string()),
                _ => client.post(at, "token", &request).await,
            }
        }
        answer => answer,
    };
    let answer: Value = serde_json::from_slice(&answer.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let token = answer["status"]["token"].as_str().ok_or("the answer has no token")?;
    paths::write(file, token.as_bytes(), true)
}
