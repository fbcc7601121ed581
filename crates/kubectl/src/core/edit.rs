//! Small edits of objects, as values: taints, images, autoscalers. Pure.

use super::flags::Given;
use api::Value;
use api::value::object;

/// A change of a node's taints.
#[derive(Clone, Debug, PartialEq)]
pub enum Taint {
    /// `key=value:effect`.
    Set(String, String, String),
    /// `key:effect-` or `key-`.
    Remove(String, Option<String>),
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Taint {
    /// Reads one argument.
    pub fn parse(text: &str) -> Result<Taint, String> {
        let effect = |e: &str| {
            if EFFECTS.contains(&e) {
                Ok(e.to_string())
            } else {
                Err(format!("invalid taint effect: {e}, unsupported taint effect"))
            }
        };
        if let Some(rest) = text.strip_suffix('-') {
            let (key, found) = rest.split_once(':').map_or((rest, None), |(k, e)| (k, Some(e)));
            let key = key.split('=').next().unwrap_or(key);
            return Ok(Taint::Remove(key.to_string(), found.map(effect).transpose()?));
        }
        let (left, found) = text.split_once(':').ok_or_else(|| format!("invalid taint spec: {text}"))?;
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        Ok(Taint::Set(key.to_string(), value.to_string(), effect(found)?))
    }
}

/// The node's taints after the changes, and the word for what was done.
pub fn taint(node: &Value, changes: &[Taint], overwrite: bool) -> Result<(Value, &'static str), String> {
    let name = node.at("metadata").at("name").str();
    let mut taints: Vec<Value> = node.at("spec").at("taints").items().to_vec();
    let same = |t: &Value, key: &str, effect: &str| t.at("key").str() == key && t.at("effect").str() == effect;
    let (mut set, mut removed) = (false, false);
    for change in changes {
        match change {
            Taint::Set(key, value, effect) => {
                if let Some(old) = taints.iter().find(|t| same(t, key, effect)) {
                    if !overwrite && old.at("value").str() != value {
                        return Err(format!(
                            "node {name} already has {key} taint(s) with same effect(s) and --overwrite is false"
                        ));
                    }
                    taints.retain(|t| !same(t, key, effect));
                }
                let mut taint = object([("effect", Value::from(effect.as_str())), ("key", Value::from(key.as_str()))]);
                if !value.is_empty() {
                    taint.set("value", value.as_str());
                }
                taints.insert(0, taint);
                set = true;
            }
            Taint::Remove(key, effect) => {
                let before = taints.len();
                taints.retain(|t| {
                    t.at("key").str() != key || effect.as_deref().is_some_and(|e| e != t.at("effect").str())
                });
                if taints.len() == before {
                    return Err(format!(
                        "taint {:?} not found",
                        effect.as_ref().map_or(key.clone(), |e| format!("{key}:{e}"))
                    ));
                }
                removed = true;
            }
        }
    }
    let done = match (set, removed) {
        (true, true) => "modified",
        (false, true) => "untainted",
        _ => "tainted",
    };
    Ok((Value::List(taints), done))
}

/// The patch for `set image`: container (or `*`) to image.
pub fn images(workload: &Value, changes: &[(String, String)]) -> Result<Option<Value>, String> {
    let is_pod = workload.at("kind").str() == "Pod";
    let is_cron = workload.at("kind").str() == "CronJob";
    let spec = if is_pod {
        workload.at("spec")
    } else if is_cron {
        workload.at("spec").at("jobTemplate").at("spec").at("template").at("spec")
    } else {
        workload.at("spec").at("template").at("spec")
    };
    let mut lists = Vec::new();
    let mut found = vec![false; changes.len()];
    for field in ["initContainers", "containers"] {
        let mut patched = Vec::new();
        for container in spec.at(field).items() {
            let name = container.at("name").str();
            let change = changes.iter().position(|(c, _)| c == name || (c == "*"));
            let Some(i) = change else { continue };
            found[i] = true;
            if container.at("image").str() != changes[i].1 {
                patched.push(object([("name", Value::from(name)), ("image", Value::from(changes[i].1.as_str()))]));
            }
        }
        if !patched.is_empty() {
            lists.push((field, Value::List(patched)));
        }
    }
    if let Some(i) = found.iter().position(|f| !f) {
        return Err(format!("unable to find container named {:?}", changes[i].0));
    }
    if lists.is_empty() {
        return Ok(None);
    }
    let mut pod = Value::object();
    lists.into_iter().for_each(|(field, list)| pod.set(field, list));
    let wrap = |inner: Value| object([("spec", inner)]);
    let template = |pod: Value| object([("template", wrap(pod))]);
    Ok(Some(if is_pod {
        wrap(pod)
    } else if is_cron {
        wrap(object([("jobTemplate", wrap(template(pod)))]))
    } else {
        wrap(template(pod))
    }))
}

/// `autoscale`.
pub fn autoscaler(api_version: &str, kind: &str, target: &str, given: &Given) -> Result<Value, String> {
    if given.int("max") < 1 {
        return Err("--max=MAXPODS is required and must be at least 1".into());
    }
    if given.int("min") > given.int("max") {
        return Err(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {}, min: {}",
            given.int("max"),
            given.int("min")
        ));
    }
    let name = if given.has("name") { given.text("name") } else { target };
    let reference =
        object([("apiVersion", Value::from(api_version)), ("kind", Value::from(kind)), ("name", Value::from(target))]);
    let mut spec = object([("scaleTargetRef", reference), ("maxReplicas", Value::from(given.int("max")))]);
    if given.int("min") > 0 {
        spec.set("minReplicas", given.int("min"));
    }
    let percent = given
        .text("cpu-percent")
        .parse::<i64>()
        .ok()
        .filter(|p| *p > 0)
        .or_else(|| given.text("cpu").trim_end_matches('%').parse().ok());
    if let Some(percent) = percent {
        let target = object([("type", Value::from("Utilization")), ("averageUtilization", Value::from(percent))]);
        let metric = object([
            ("type", Value::from("Resource")),
            ("resource", object([("name", Value::from("cpu")), ("target", target)])),
        ]);
        spec.set("metrics", Value::List(vec![metric]));
    }
    Ok(object([
        ("apiVersion", Value::from("autoscaling/v2")),
        ("kind", Value::from("HorizontalPodAutoscaler")),
        ("metadata", object([("name", Value::from(name))])),
        ("spec", spec),
    ]))
}

/// Why a pod is not evicted, or `None` when it may be; `Some(Ok(text))` skips it.
pub fn spare(pod: &Value, given: &Given) -> Option<Result<String, String>> {
    let metadata = pod.at("metadata");
    let name = format!("{}/{}", metadata.at("namespace").str(), metadata.at("name").str());
    let owner = metadata.at("ownerReferences").items().iter().find(|o| o.at("controller").is_true());
    let finished = matches!(pod.at("status").at("phase").str(), "Succeeded" | "Failed");
    if metadata.at("annotations").has("kubernetes.io/config.mirror") {
        return Some(Ok(String::new()));
    }
    if owner.is_some_and(|o| o.at("kind").str() == "DaemonSet") && !finished {
        return Some(if given.on("ignore-daemonsets") {
            Ok(format!("ignoring DaemonSet-managed Pods: {name}"))
        } else {
            Err(format!("cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): {name}"))
        });
    }
    let local = pod.at("spec").at("volumes").items().iter().any(|v| v.has("emptyDir"));
    if local && !finished && !given.on("delete-emptydir-data") {
        return Some(Err(format!(
            "cannot delete Pods with local storage (use --delete-emptydir-data to override): {name}"
        )));
    }
    if owner.is_none() && !finished && !given.on("force") {
        return Some(Err(format!("cannot delete Pods that declare no controller (use --force to override): {name}")));
    }
    None
}

#[cfg(test)]
mod tests {
    //! Tests of edits.
    use super::*;

    fn json(text: &str) -> Value {
        api::json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn taints() {
        let node =
            json(r#"{"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","value":"1","effect":"NoSchedule"}]}}"#);
        let run = |args: &[&str], overwrite: bool| {
            let changes: Result<Vec<Taint>, String> = args.iter().map(|a| Taint::parse(a)).collect();
            taint(&node, &changes?, overwrite).map(|(taints, done)| format!("{done} {}", api::json::to_string(&taints)))
        };
        assert_eq!(
            run(&["b=2:NoExecute"], false).unwrap(),
            r#"tainted [{"effect":"NoExecute","key":"b","value":"2"},{"key":"a","value":"1","effect":"NoSchedule"}]"#
        );
        assert_eq!(run(&["a:NoSchedule-"], false).unwrap(), "untainted []");
        assert_eq!(run(&["a-"], false).unwrap(), "untainted []");
        assert_eq!(
            run(&["a=2:NoSchedule"], false).unwrap_err(),
            "node n already has a taint(s) with same effect(s) and --overwrite is false"
        );
        assert!(run(&["a=2:NoSchedule"], true).is_ok());
        assert_eq!(run(&["x-"], false).unwrap_err(), "taint \"x\" not found");
        assert_eq!(run(&["x=1:Foo"], false).unwrap_err(), "invalid taint effect: Foo, unsupported taint effect");
    }

    #[test]
    fn images_of_containers() {
        let web = json(
            r#"{"kind":"Deployment","spec":{"template":{"spec":{"containers":[{"name":"a","image":"x:1"},{"name":"b","image":"y:1"}]}}}}"#,
        );
        let run = |changes: &[(&str, &str)]| {
            let changes: Vec<_> = changes.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
            images(&web, &changes).map(|p| p.map_or("none".into(), |p| api::json::to_string(&p)))
        };
        assert_eq!(
            run(&[("a", "x:2")]).unwrap(),
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"x:2"}]}}}}"#
        );
        assert_eq!(run(&[("a", "x:1")]).unwrap(), "none");
        assert_eq!(run(&[("c", "x:1")]).unwrap_err(), "unable to find container named \"c\"");
        assert!(run(&[("*", "z")]).unwrap().contains(r#""name":"b","image":"z""#));
    }
}
