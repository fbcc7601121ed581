//! Volumes made of the API's data: configMap, secret, downwardAPI, projected (with tokens).

use std::collections::BTreeMap;

use client::{At, resources};
use platform::WallTime;
use platform::time::Duration;
use serde_json::{Value, json};

use super::{Content, Prepared};
use crate::core::env;
use crate::core::files::{File, project};
use crate::core::pod::{DownwardVolume, Item, Pod, Projected, ProjectedObject, TokenSource, Volume};
use crate::objects::Ref;
use crate::shared::Shared;

const MODE: u32 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// The files of a volume, if it is of one of these kinds.
pub async fn content(
    shared: &Shared,
    pod: &Pod,
    volume: &Volume,
    out: &mut Prepared,
) -> Result<Option<Content>, String> {
    let ns = &pod.metadata.namespace;
    if let Some(v) = &volume.config_map {
        let wanted =
            Wanted { items: &v.items, mode: v.default_mode.unwrap_or(MODE), optional: v.optional.unwrap_or(false) };
        let files = object(shared, Ref::config_map(ns, &v.name), wanted, out).await?;
        return Ok(Some(Content { files, memory: false, plugin: "configmap" }));
    }
    if let Some(v) = &volume.secret {
        let wanted =
            Wanted { items: &v.items, mode: v.default_mode.unwrap_or(MODE), optional: v.optional.unwrap_or(false) };
        let files = object(shared, Ref::secret(ns, &v.secret_name), wanted, out).await?;
        return Ok(Some(Content { files, memory: true, plugin: "secret" }));
    }
    if let Some(v) = &volume.downward_api {
        let files = downward(shared, pod, v, v.default_mode.unwrap_or(MODE))?;
        return Ok(Some(Content { files, memory: false, plugin: "downward-api" }));
    }
    if let Some(v) = &volume.projected {
        let files = projected(shared, pod, v, out).await?;
        return Ok(Some(Content { files, memory: true, plugin: "projected" }));
    }
    Ok(None)
}

struct Wanted<'a> {
    items: &'a [Item],
    mode: u32,
    optional: bool,
}

async fn object(shared: &Shared, r: Ref, w: Wanted<'_>, out: &mut Prepared) -> Result<Vec<File>, String> {
    out.refs.insert(r.clone());
    let data = match shared.objects.get(&r).await? {
        Some(data) => data.values,
        None if w.optional => BTreeMap::new(),
        None => return Err(format!("{} {:?} not found", if r.secret { "secret" } else { "configmap" }, r.name)),
    };
    project(&data, w.items, w.mode, w.optional, if r.secret { "secret" } else { "configmap" })
}

fn downward(shared: &Shared, pod: &Pod, v: &DownwardVolume, mode: u32) -> Result<Vec<File>, String> {
    let facts = shared.facts(pod);
    let mut files = Vec::new();
    for item in &v.items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(f), _) => env::field(pod, &f.field_path, &facts)?,
            (_, Some(r)) => env::resource(pod, None, r, &facts)?,
            _ => return Err(format!("downwardAPI item {:?} has no source", item.path)),
        };
        files.push(File { path: item.path.clone(), data: text.into_bytes(), mode: item.mode.unwrap_or(mode) });
    }
    Ok(files)
}

async fn projected(shared: &Shared, pod: &Pod, v: &Projected, out: &mut Prepared) -> Result<Vec<File>, String> {
    let (ns, mode) = (&pod.metadata.namespace, v.default_mode.unwrap_or(MODE));
    let mut files: Vec<File> = Vec::new();
    let wanted = |o: &'_ ProjectedObject| (o.optional.unwrap_or(false), o.name.clone());
    for source in &v.sources {
        let more = if let Some(o) = &source.config_map {
            let (optional, name) = wanted(o);
            object(shared, Ref::config_map(ns, &name), Wanted { items: &o.items, mode, optional }, out).await?
        } else if let Some(o) = &source.secret {
            let (optional, name) = wanted(o);
            object(shared, Ref::secret(ns, &name), Wanted { items: &o.items, mode, optional }, out).await?
        } else if let Some(d) = &source.downward_api {
            downward(shared, pod, d, mode)?
        } else if let Some(t) = &source.service_account_token {
            let (token, refresh_at) = shared.tokens.get(shared, pod, t).await?;
            out.refresh_at = Some(out.refresh_at.map_or(refresh_at, |at| at.min(refresh_at)));
            // Only the owner reads it, unless the pod has a group for its files or runs as somebody else.
            let open = pod.spec.security_context.fs_group.is_some() || runs_as_other(pod);
            vec![File { path: t.path.clone(), data: token.into_bytes(), mode: if open { 0o644 } else { 0o600 } }]
        } else {
            let kind = source.other.keys().next().cloned().unwrap_or_default();
            return Err(format!("projected source {kind:?} is not supported by this kubelet"));
        };
        // A later source wins.
        files.retain(|f| !more.iter().any(|m| m.path == f.path));
        files.extend(more);
    }
    Ok(files)
}

/// Images may name a user of their own, so a token is private only where the pod says root.
fn runs_as_other(pod: &Pod) -> bool {
    let own = pod.spec.security_context.run_as_user;
    pod.all_containers().any(|(_, c)| c.security_context.run_as_user.or(own) != Some(0))
}

/// Tokens of service accounts, by pod and source; asked for anew when four fifths of their time are over.
#[derive(Default)]
pub struct Tokens {
    cache: std::sync::Mutex<BTreeMap<(String, String, i64), (String, WallTime)>>,
}

impl Tokens {
    /// A token and when to ask for the next one.
    pub async fn get(&self, shared: &Shared, pod: &Pod, source: &TokenSource) -> Result<(String, WallTime), String> {
        let seconds = source.expiration_seconds.unwrap_or(TOKEN_SECONDS);
        let key = (pod.metadata.uid.clone(), source.audience.clone(), seconds);
        let now = shared.env.wall();
        let cached = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).cloned();
        if let Some((token, refresh_at)) = cached
            && refresh_at > now
        {
            return Ok((token, refresh_at));
        }
        let meta = &pod.metadata;
        let audiences: Vec<&str> = Some(source.audience.as_str()).filter(|a| !a.is_empty()).into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": seconds,
                     "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid}},
        });
        let account = if pod.spec.service_account_name.is_empty() { "default" } else { &pod.spec.service_account_name };
        let at = At { resource: &resources::SERVICEACCOUNTS, namespace: &meta.namespace, name: account };
        let answer =
            shared.client.post(at, "token", &request).await.map_err(|e| format!("failed to fetch token: {e}"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| format!("failed to fetch token: {e}"))?;
        let token = answer["status"]["token"].as_str().ok_or("failed to fetch token: the answer has none")?.to_string();
        let expires = answer["status"]["expirationTimestamp"].as_str().and_then(api::time::parse_seconds);
        let life = expires.map_or(seconds, |e| e - now.unix_seconds()).clamp(60, 86_400);
        let refresh_at = now.plus(Duration::from_secs((life * 4 / 5) as u64));
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, (token.clone(), refresh_at));
        Ok((token, refresh_at))
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|(u, ..), _| u != uid);
    }
}
