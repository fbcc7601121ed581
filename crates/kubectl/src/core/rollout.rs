//! How far a rollout is, in kubectl's words (`polymorphichelpers/rollout_status.go`), and which revisions there were.

use api::Value;

/// Annotation with a ReplicaSet's revision.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation with the reason for a revision.
pub const CAUSE: &str = "kubernetes.io/change-cause";

/// What to say, and whether it is done.
pub fn status(object: &Value, revision: i64) -> Result<(String, bool), String> {
    match object.at("kind").str() {
        "Deployment" => deployment(object, revision),
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        other => Err(format!("no status viewer has been implemented for {other}")),
    }
}

fn name(object: &Value) -> &str {
    object.at("metadata").at("name").str()
}

fn observed(object: &Value) -> bool {
    object.at("metadata").at("generation").int() <= object.at("status").at("observedGeneration").int()
}

fn deployment(object: &Value, wanted: i64) -> Result<(String, bool), String> {
    let (name, status) = (name(object), object.at("status"));
    if wanted > 0 {
        let now = object.at("metadata").at("annotations").at(REVISION).str().parse::<i64>();
        let now = now.map_err(|_| format!("cannot get the revision of deployment {name:?}"))?;
        if now != wanted {
            return Err(format!("desired revision ({wanted}) is different from the running revision ({now})"));
        }
    }
    if !observed(object) {
        return Ok(("Waiting for deployment spec update to be observed...\n".into(), false));
    }
    let conditions = status.at("conditions").items();
    if conditions
        .iter()
        .any(|c| c.at("type").str() == "Progressing" && c.at("reason").str() == "ProgressDeadlineExceeded")
    {
        return Err(format!("deployment {name:?} exceeded its progress deadline"));
    }
    let count = |field: &str| status.at(field).int();
    let (updated, total, available) = (count("updatedReplicas"), count("replicas"), count("availableReplicas"));
    let wait = |what: String| Ok((format!("Waiting for deployment {name:?} rollout to finish: {what}...\n"), false));
    if let Some(wanted) = object.at("spec").at("replicas").as_int()
        && updated < wanted
    {
        return wait(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if total > updated {
        return wait(format!("{} old replicas are pending termination", total - updated));
    }
    if available < updated {
        return wait(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment {name:?} successfully rolled out\n"), true))
}

const ROLLING_ONLY: &str = "rollout status is only available for RollingUpdate strategy type";

fn daemon_set(object: &Value) -> Result<(String, bool), String> {
    let (name, status) = (name(object), object.at("status"));
    if object.at("spec").at("updateStrategy").at("type").str() != "RollingUpdate" {
        return Err(ROLLING_ONLY.into());
    }
    if !observed(object) {
        return Ok(("Waiting for daemon set spec update to be observed...\n".into(), false));
    }
    let (updated, desired) = (status.at("updatedNumberScheduled").int(), status.at("desiredNumberScheduled").int());
    let available = status.at("numberAvailable").int();
    let wait = |what: String| Ok((format!("Waiting for daemon set {name:?} rollout to finish: {what}...\n"), false));
    if updated < desired {
        return wait(format!("{updated} out of {desired} new pods have been updated"));
    }
    if available < desired {
        return wait(format!("{available} of {desired} updated pods are available"));
    }
    Ok((format!("daemon set {name:?} successfully rolled out\n"), true))
}

fn stateful_set(object: &Value) -> Result<(String, bool), String> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    if spec.at("updateStrategy").at("type").str() != "RollingUpdate" {
        return Err(ROLLING_ONLY.into());
    }
    if status.at("observedGeneration").int() == 0 || !observed(object) {
        return Ok(("Waiting for statefulset spec update to be observed...\n".into(), false));
    }
    let wanted = spec.at("replicas").as_int().unwrap_or(1);
    let (ready, updated) = (status.at("readyReplicas").int(), status.at("updatedReplicas").int());
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...\n", wanted - ready), false));
    }
    let partition = spec.at("updateStrategy").at("rollingUpdate").at("partition").int();
    if partition > 0 {
        if updated < wanted - partition {
            let text = format!(
                "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...\n",
                wanted - partition
            );
            return Ok((text, false));
        }
        return Ok((format!("partitioned roll out complete: {updated} new pods have been updated...\n"), true));
    }
    let (new, current) = (status.at("updateRevision").str(), status.at("currentRevision").str());
    if new != current {
        return Ok((
            format!("waiting for statefulset rolling update to complete {updated} pods at revision {new}...\n"),
            false,
        ));
    }
    Ok((
        format!(
            "statefulset rolling update complete {} pods at revision {current}...\n",
            status.at("currentReplicas").int()
        ),
        true,
    ))
}

/// The revisions in `objects` (ReplicaSets or ControllerRevisions that `owner` controls), oldest first.
pub fn revisions<'a>(owner: &Value, objects: &'a [Value]) -> Vec<(i64, &'a Value)> {
    let uid = owner.at("metadata").at("uid").str();
    let owned = |o: &&Value| {
        o.at("metadata")
            .at("ownerReferences")
            .items()
            .iter()
            .any(|r| r.at("uid").str() == uid && r.at("controller").is_true())
    };
    let number = |o: &Value| match o.at("revision").as_int() {
        Some(n) => Some(n),
        None => o.at("metadata").at("annotations").at(REVISION).str().parse().ok(),
    };
    let mut all: Vec<_> = objects.iter().filter(owned).filter_map(|o| Some((number(o)?, o))).collect();
    all.sort_by_key(|(n, _)| *n);
    all
}

/// The table of `rollout history`.
pub fn history(revisions: &[(i64, &Value)]) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".to_string();
    }
    let mut text = "REVISION\tCHANGE-CAUSE\n".to_string();
    for (number, object) in revisions {
        let cause = object.at("metadata").at("annotations").at(CAUSE).str();
        text.push_str(&format!("{number}\t{}\n", if cause.is_empty() { "<none>" } else { cause }));
    }
    super::table::tabbed(&text, 2)
}

/// The revision to go back to: the given one, or the one before the last.
pub fn target<'a>(
    revisions: &[(i64, &'a Value)],
    wanted: i64,
    kind: &str,
    name: &str,
) -> Result<(i64, &'a Value), String> {
    if wanted > 0 {
        let found = revisions.iter().find(|(n, _)| *n == wanted);
        return found.copied().ok_or_else(|| format!("unable to find specified revision {wanted} in history"));
    }
    match revisions {
        [.., before, _] => Ok(*before),
        _ => Err(format!("no rollout history found for {kind} {name:?}")),
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
