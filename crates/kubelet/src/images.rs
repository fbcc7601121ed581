//! Images: pull policies, pull secrets, events.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use wire::Code;
use wire::cri::{AuthConfig, ImageSpec, ImageStatusRequest, PullImageRequest};

use crate::core::machine::Outcome;
use crate::core::pod::Container;
use crate::objects::Ref;
use crate::ops::Context;

/// `Always`, `IfNotPresent`, `Never`, with the default by tag.
fn policy(container: &Container) -> &str {
    match container.image_pull_policy.as_str() {
        "" if container.image.contains('@') => "IfNotPresent",
        "" => match container.image.rsplit('/').next().and_then(|last| last.split_once(':')) {
            Some((_, tag)) if tag != "latest" => "IfNotPresent",
            _ => "Always",
        },
        policy => policy,
    }
}

fn failed(reason: &str, message: String) -> Outcome {
    Outcome::Failed { reason: reason.into(), message }
}

/// Makes sure that the image of a container (and those of its image volumes) is here.
pub async fn ensure(c: &Context, name: &str) -> Outcome {
    let Some(container) = c.pod.container(name) else {
        return failed("", format!("container {name:?} is not in the pod"));
    };
    for volume in c.pod.spec.volumes.iter().filter(|v| container.volume_mounts.iter().any(|m| m.name == v.name)) {
        if let Some(image) = &volume.image
            && let Err(outcome) = one(
                c,
                name,
                &image.reference,
                if image.pull_policy.is_empty() { "IfNotPresent" } else { &image.pull_policy },
            )
            .await
        {
            return outcome;
        }
    }
    match one(c, name, &container.image, policy(container)).await {
        Ok(id) => Outcome::Image(id),
        Err(outcome) => outcome,
    }
}

async fn present(c: &Context, image: &str) -> Result<Option<(String, u64)>, wire::Status> {
    let spec = ImageSpec { image: image.into(), ..Default::default() };
    let answer = c.shared.cri.image_status(ImageStatusRequest { image: Some(spec), verbose: false }).await?;
    Ok(answer.image.map(|i| (i.id, i.size)))
}

async fn one(c: &Context, name: &str, image: &str, policy: &str) -> Result<String, Outcome> {
    let tell = |warning: bool, reason: &str, text: String| c.shared.tell(&c.pod, name, warning, reason, text);
    let here = present(c, image)
        .await
        .map_err(|e| failed("ImageInspectError", format!("Failed to inspect image {image:?}: {}", e.message())))?;
    if let (Some((id, _)), "IfNotPresent" | "Never") = (&here, policy) {
        tell(
            false,
            "Pulled",
            format!("Container image {image:?} already present on machine and can be accessed by the pod"),
        );
        return Ok(id.clone());
    }
    if policy == "Never" {
        let text = format!("Container image {image:?} is not present with pull policy of Never");
        tell(true, "ErrImageNeverPull", text.clone());
        return Err(failed("ErrImageNeverPull", text));
    }
    tell(false, "Pulling", format!("Pulling image {image:?}"));
    let begun = c.shared.env.now();
    match pull(c, image).await {
        Ok(id) => {
            let took = begun.elapsed();
            let size = present(c, image).await.ok().flatten().map_or(0, |(_, size)| size);
            let text = format!(
                "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {size} bytes.",
                api::time::format_duration(took.as_nanos() as i64 / 1_000_000 * 1_000_000),
                api::time::format_duration(took.as_nanos() as i64 / 1_000_000 * 1_000_000)
            );
            tell(false, "Pulled", text);
            Ok(id)
        }
        Err(e) => {
            let reason = if e.code() == Code::InvalidArgument && e.message().contains("couldn't parse image name") {
                "InvalidImageName"
            } else {
                "ErrImagePull"
            };
            tell(true, "Failed", format!("Failed to pull image {image:?}: {}", e.message()));
            tell(true, "Failed", format!("Error: {reason}"));
            Err(failed(reason, e.message().to_string()))
        }
    }
}

/// Tries every credential that fits, then none.
async fn pull(c: &Context, image: &str) -> Result<String, wire::Status> {
    let mut last = None;
    let credentials = credentials(c, image).await.into_iter().map(Some).chain([None]);
    for auth in credentials {
        let spec = ImageSpec { image: image.into(), ..Default::default() };
        match c.shared.cri.pull_image(PullImageRequest { image: Some(spec), auth, sandbox_config: None }).await {
            Ok(answer) => return Ok(answer.image_ref),
            Err(e) if e.code() == Code::PermissionDenied => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| wire::Status::unknown("no way to pull the image")))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
}

/// Credentials of the pod's pull secrets that are for the image's registry, the longest match first.
async fn credentials(c: &Context, image: &str) -> Vec<AuthConfig> {
    let mut found: Vec<(usize, AuthConfig)> = Vec::new();
    for reference in &c.pod.spec.image_pull_secrets {
        let data = match c.shared.objects.get(&Ref::secret(&c.pod.metadata.namespace, &reference.name)).await {
            Ok(Some(data)) => data,
            _ => {
                let text = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    reference.name
                );
                c.shared.tell(&c.pod, "", true, "FailedToRetrieveImagePullSecret", text);
                continue;
            }
        };
        let new = data
            .values
            .get(".dockerconfigjson")
            .and_then(|t| serde_json::from_slice::<DockerConfig>(t).ok())
            .map(|c| c.auths);
        let old = data.values.get(".dockercfg").and_then(|t| serde_json::from_slice(t).ok());
        let auths: BTreeMap<String, DockerAuth> = new.or(old).unwrap_or_default();
        for (server, auth) in auths {
            if let Some(length) = fits(&server, image) {
                found.push((length, config(&server, &auth)));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

fn config(server: &str, a: &DockerAuth) -> AuthConfig {
    let mut auth = AuthConfig {
        username: a.username.clone(),
        password: a.password.clone(),
        server_address: server.into(),
        ..Default::default()
    };
    if auth.username.is_empty()
        && let Some((user, password)) = STANDARD
            .decode(&a.auth)
            .ok()
            .and_then(|b| String::from_utf8(b).ok())
            .as_deref()
            .and_then(|t| t.split_once(':'))
    {
        (auth.username, auth.password) = (user.into(), password.into());
    }
    auth
}

/// How well a server's entry fits an image: the length of the match.
fn fits(server: &str, image: &str) -> Option<usize> {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.trim_end_matches("/v1").trim_end_matches("/v2");
    let bare = if matches!(bare, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { bare };
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let full = match first.contains(['.', ':']) || first == "localhost" {
        true => image.to_string(),
        false if first.is_empty() => format!("docker.io/library/{rest}"),
        false => format!("docker.io/{image}"),
    };
    let (entry_host, entry_path) = bare.split_once('/').unwrap_or((bare, ""));
    let (host, path) = full.split_once('/')?;
    let host_fits = match entry_host.strip_prefix("*.") {
        Some(suffix) => host.split_once('.').is_some_and(|(_, domain)| domain == suffix),
        None => host == entry_host,
    };
    (host_fits && path.starts_with(entry_path)).then_some(bare.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_fit_registries() {
        for (server, image, want) in [
            ("https://index.docker.io/v1/", "nginx", true),
            ("quay.io", "quay.io/a/b:1", true),
            ("quay.io/a", "quay.io/b/c", false),
            ("*.example.com", "r.example.com/x", true),
            ("ghcr.io", "nginx", false),
            ("localhost:5000", "localhost:5000/x", true),
        ] {
            assert_eq!(fits(server, image).is_some(), want, "{server} {image}");
        }
    }

    #[test]
    fn policies_by_tag() {
        for (image, want) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("h:5000/a", "Always"),
            ("a@sha256:1", "IfNotPresent"),
        ] {
            assert_eq!(policy(&Container { image: image.into(), ..Container::default() }), want, "{image}");
        }
    }
}
