//! ConfigMaps and Secrets that pods use: read when needed, watched while a pod uses them.
//!
//! One watch per object, shared by the pods that follow it, ended with the last of them. A change wakes those pods; they
//! read the object again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{At, Client, Error, EventKind, Resource, WatchRequest, resources};
use futures_util::StreamExt;
use platform::time::sleep;
use platform::{Env, KubeletLimits};
use serde::Deserialize;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    pub secret: bool,
    pub namespace: String,
    pub name: String,
}

impl Ref {
    pub fn config_map(namespace: &str, name: &str) -> Ref {
        Ref { secret: false, namespace: namespace.into(), name: name.into() }
    }

    pub fn secret(namespace: &str, name: &str) -> Ref {
        Ref { secret: true, namespace: namespace.into(), name: name.into() }
    }

    fn resource(&self) -> &'static Resource {
        if self.secret { &SECRETS } else { &CONFIGMAPS }
    }

    fn kind(&self) -> &'static str {
        if self.secret { "secret" } else { "configmap" }
    }
}

static SECRETS: Resource = resources::SECRETS;
static CONFIGMAPS: Resource = resources::CONFIGMAPS;

/// An object's data, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub values: BTreeMap<String, Vec<u8>>,
    pub kind: String,
    pub revision: u64,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct View {
    metadata: client::Meta,
    data: BTreeMap<String, String>,
    binary_data: BTreeMap<String, String>,
    r#type: String,
}

struct Followed {
    pods: BTreeSet<String>,
    task: tokio::task::JoinHandle<()>,
}

type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// The objects in use.
pub struct Objects {
    env: Env,
    client: Client,
    followed: Mutex<BTreeMap<Ref, Followed>>,
    wake: Wake,
}

impl Objects {
    /// `wake` is called with a pod's uid when something that it follows has changed.
    pub fn new(env: Env, client: Client, wake: impl Fn(&str) + Send + Sync + 'static) -> Objects {
        Objects { env, client, followed: Mutex::default(), wake: Arc::new(wake) }
    }

    /// Reads an object; none if there is none.
    pub async fn get(&self, r: &Ref) -> Result<Option<Data>, String> {
        let at = At { resource: r.resource(), namespace: &r.namespace, name: &r.name };
        let view: View = match self.client.get(at).await {
            Ok(view) => view,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(format!("failed to get {} {}/{}: {e}", r.kind(), r.namespace, r.name)),
        };
        let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let decode =
            |text: &str| STANDARD.decode(text).map_err(|e| format!("{} {}/{}: {e}", r.kind(), r.namespace, r.name));
        for (key, text) in &view.data {
            values.insert(key.clone(), if r.secret { decode(text)? } else { text.clone().into_bytes() });
        }
        for (key, text) in &view.binary_data {
            values.insert(key.clone(), decode(text)?);
        }
        Ok(Some(Data { values, kind: view.r#type, revision: view.metadata.revision() }))
    }

    /// Says which objects a pod uses from now on.
    pub fn follow(&self, uid: &str, refs: &BTreeSet<Ref>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|r, f| {
            if !refs.contains(r) {
                f.pods.remove(uid);
            }
            if f.pods.is_empty() {
                f.task.abort();
            }
            !f.pods.is_empty()
        });
        for r in refs {
            let start = || {
                let task = watch(
                    self.client.clone(),
                    self.env.limits().kubelet,
                    r.clone(),
                    self.wake.clone(),
                    uid.to_string(),
                );
                Followed { pods: BTreeSet::new(), task: self.env.spawn("watch-object", task) }
            };
            let known = followed.contains_key(r);
            let entry = followed.entry(r.clone()).or_insert_with(start);
            if entry.pods.insert(uid.to_string()) && known {
                // The task wakes everybody who was there when it started: start it anew with all.
                entry.task.abort();
                let all = entry.pods.iter().cloned().collect::<Vec<_>>().join(" ");
                entry.task = self.env.spawn(
                    "watch-object",
                    watch(self.client.clone(), self.env.limits().kubelet, r.clone(), self.wake.clone(), all),
                );
            }
        }
    }
}

/// Watches one object and wakes the pods (uids, separated by spaces) at every change.
async fn watch(client: Client, limits: KubeletLimits, r: Ref, wake: Wake, pods: String) {
    let mut after = None;
    let mut pause = limits.watch_first;
    loop {
        match follow(&client, &r, &mut after, || pods.split(' ').for_each(|uid| wake(uid))).await {
            Err(e) if e.is_expired() => after = None,
            Err(e) => {
                tracing::debug!(object = r.name, error = %e, "the watch of an object ended");
                sleep(pause).await;
                pause = (pause * 2).min(limits.watch_most);
            }
            Ok(()) => pause = limits.watch_first,
        }
    }
}

async fn follow(client: &Client, r: &Ref, after: &mut Option<u64>, mut changed: impl FnMut()) -> Result<(), Error> {
    let fields = Some(format!("metadata.name={}", r.name));
    let (resource, namespace) = (r.resource().clone(), Some(r.namespace.clone()));
    let from = match *after {
        Some(after) => after,
        None => {
            let request = client::ListRequest {
                resource: resource.clone(),
                namespace: namespace.clone(),
                fields: fields.clone(),
                ..Default::default()
            };
            let revision = client.list(request).await?.revision;
            changed(); // whatever happened before the list
            *after.insert(revision)
        }
    };
    let request = WatchRequest { resource, namespace, fields, after: from, bookmarks: true, ..Default::default() };
    let mut stream = client.watch(request).await?;
    while let Some(event) = stream.next().await {
        let event = event?;
        match event.kind {
            EventKind::Error => return Err(Error::from_status(500, event.object)),
            EventKind::Bookmark => {}
            _ => changed(),
        }
        *after = Some(event.revision.max(after.unwrap_or(0)));
    }
    Err(Error::Transport("the server ended the watch".into()))
}
