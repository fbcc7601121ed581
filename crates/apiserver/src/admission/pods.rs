//! What new pods get: ServiceAccount, Priority, DefaultTolerationSeconds.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/admission/{serviceaccount,priority,defaulttolerationseconds}`.

use super::Attrs;
use crate::registry::Registry;
use api::{Status, Value, f, value::object};

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Gives a pod its service account and the account's token.
pub fn service_account(registry: &Registry, a: &Attrs, pod: &mut Value) -> Result<(), Status> {
    if !registry.settings.service_account_admission
        || pod.at(f::metadata).at(f::annotations).get("kubernetes.io/config.mirror").is_some()
    {
        return Ok(());
    }
    let spec = pod.entry(f::spec);
    if spec.at(f::serviceAccountName).str().is_empty() {
        spec.set(f::serviceAccountName, "default");
    }
    let name = spec.at(f::serviceAccountName).str().to_string();
    spec.set(f::serviceAccount, name.as_str());
    let account = registry.find("", "serviceaccounts", a.namespace, &name).ok_or_else(|| {
        a.forbid(format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", a.namespace))
    })?;
    if spec.at(f::imagePullSecrets).is_zero() && !account.at(f::imagePullSecrets).is_zero() {
        spec.set(f::imagePullSecrets, account.at(f::imagePullSecrets).clone());
    }
    let wanted = match (spec.at(f::automountServiceAccountToken), account.at(f::automountServiceAccountToken)) {
        (Value::Bool(b), _) | (_, Value::Bool(b)) => *b,
        _ => true,
    };
    if wanted {
        mount_token(registry, spec);
    }
    Ok(())
}

fn mount_token(registry: &Registry, spec: &mut Value) {
    let mut volume = spec
        .at(f::volumes)
        .items()
        .iter()
        .find(|v| v.at(f::name).str().starts_with("kube-api-access-"))
        .map(|v| v.at(f::name).str().to_string());
    let mut needed = false;
    for list in [f::initContainers, f::containers] {
        for c in spec.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten() {
            if c.at(f::volumeMounts).items().iter().any(|m| m.at(f::mountPath).str() == TOKEN_PATH) {
                continue;
            }
            let name = volume.get_or_insert_with(|| {
                needed = true;
                format!("kube-api-access-{}", registry.suffix())
            });
            let mount =
                object([("name", name.as_str().into()), ("readOnly", true.into()), ("mountPath", TOKEN_PATH.into())]);
            c.entry(f::volumeMounts).make_list().push(mount);
        }
    }
    let (true, Some(name)) = (needed, volume) else { return };
    let item = |key: &str, path: &str| Value::List(vec![object([("key", key.into()), ("path", path.into())])]);
    let token =
        object([("serviceAccountToken", object([("expirationSeconds", 3607.into()), ("path", "token".into())]))]);
    let root =
        object([("configMap", object([("name", "kube-root-ca.crt".into()), ("items", item("ca.crt", "ca.crt"))]))]);
    let field = object([
        ("path", "namespace".into()),
        ("fieldRef", object([("apiVersion", "v1".into()), ("fieldPath", "metadata.namespace".into())])),
    ]);
    let namespace = object([("downwardAPI", object([("items", vec![field].into())]))]);
    let projected = object([("sources", vec![token, root, namespace].into()), ("defaultMode", 420.into())]);
    spec.entry(f::volumes).make_list().push(object([("name", name.into()), ("projected", projected)]));
}

/// Names become numbers.
pub fn priority(registry: &Registry, a: &Attrs, pod: &mut Value) -> Result<(), Status> {
    let spec = pod.entry(f::spec);
    let asked = spec.at(f::priority).as_int();
    let mut name = spec.at(f::priorityClassName).str().to_string();
    let (value, policy) = if name.is_empty() {
        let default = registry
            .all("scheduling.k8s.io", "priorityclasses", "")
            .into_iter()
            .filter(|c| c.at(f::globalDefault).is_true())
            .min_by_key(|c| c.at(f::value).int());
        match default {
            Some(c) => {
                name = c.at(f::metadata).at(f::name).str().into();
                (c.at(f::value).int(), c.at(f::preemptionPolicy).str().to_string())
            }
            None => (0, "PreemptLowerPriority".to_string()),
        }
    } else {
        let c = registry
            .find("scheduling.k8s.io", "priorityclasses", "", &name)
            .ok_or_else(|| a.forbid(format!("no PriorityClass with name {name} was found")))?;
        (c.at(f::value).int(), c.at(f::preemptionPolicy).str().to_string())
    };
    if let Some(n) = asked
        && n != value
    {
        return Err(a.forbid(format!("the integer value of priority ({n}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name")));
    }
    if !name.is_empty() {
        spec.set(f::priorityClassName, name);
    }
    spec.set(f::priority, value);
    let policy = if policy.is_empty() { "PreemptLowerPriority".into() } else { policy };
    let given = spec.at(f::preemptionPolicy).str().to_string();
    if !given.is_empty() && given != policy {
        return Err(a.forbid(format!("the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name")));
    }
    spec.set(f::preemptionPolicy, policy);
    Ok(())
}

/// A priority once found stays.
pub fn keep_priority(a: &Attrs, pod: &mut Value) {
    let Some(old) = a.old else { return };
    for key in [f::priority, f::preemptionPolicy] {
        if !pod.at(f::spec).has(key) && old.at(f::spec).has(key) {
            pod.entry(f::spec).set(key, old.at(f::spec).at(key).clone());
        }
    }
}

/// A pod stays five minutes on a node that fails, unless it says otherwise.
pub fn tolerations(pod: &mut Value) {
    let list = pod.entry(f::spec).entry(f::tolerations).make_list();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list.iter().any(|t| {
            let same = t.at(f::key).str() == key || t.at(f::key).str().is_empty();
            same && matches!(t.at(f::effect).str(), "NoExecute" | "")
        });
        if !tolerated {
            list.push(object([
                ("key", key.into()),
                ("operator", "Exists".into()),
                ("effect", "NoExecute".into()),
                ("tolerationSeconds", 300.into()),
            ]));
        }
    }
}
