//! Objects from flags: `create deployment`, `create configmap`, `run`, `expose` and the like. Pure.

use super::flags::Given;
use api::Value;
use api::value::object;

fn texts(items: &[String]) -> Value {
    Value::List(items.iter().map(|i| Value::from(i.as_str())).collect())
}

fn named(api_version: &str, kind: &str, name: &str) -> Value {
    object([
        ("apiVersion", Value::from(api_version)),
        ("kind", Value::from(kind)),
        ("metadata", object([("name", Value::from(name))])),
    ])
}

/// `a=1,b=2` as an object.
pub fn pairs(items: &[String], what: &str) -> Result<Value, String> {
    let mut map = Value::object();
    for item in items.iter().flat_map(|i| i.split(',')).filter(|i| !i.is_empty()) {
        let (key, value) = item.split_once('=').ok_or_else(|| format!("unexpected {what} spec: {item}"))?;
        map.set(key, value);
    }
    Ok(map)
}

/// A container's name from its image: the last part of the path, without tag.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(['@', ':']).next().unwrap_or(last).to_string()
}

/// `create deployment`.
pub fn deployment(name: &str, given: &Given, command: &[String]) -> Result<Value, String> {
    let images = given.list("image");
    if images.is_empty() {
        return Err("required flag(s) \"image\" not set".into());
    }
    if images.len() > 1 && !command.is_empty() {
        return Err("cannot specify multiple --image options and command".into());
    }
    let labels = object([("app", Value::from(name))]);
    let container = |image: &String| {
        let mut container =
            object([("name", Value::from(container_name(image).as_str())), ("image", Value::from(image.as_str()))]);
        if !command.is_empty() {
            container.set("command", texts(command));
        }
        if given.int("port") > 0 {
            container.set("ports", Value::List(vec![object([("containerPort", Value::from(given.int("port")))])]));
        }
        container
    };
    let containers = Value::List(images.iter().map(container).collect());
    let template =
        object([("metadata", object([("labels", labels.clone())])), ("spec", object([("containers", containers)]))]);
    let mut out = named("apps/v1", "Deployment", name);
    out.entry("metadata").set("labels", labels.clone());
    let replicas = if given.has("replicas") { given.int("replicas") } else { 1 };
    out.set(
        "spec",
        object([
            ("replicas", Value::from(replicas)),
            ("selector", object([("matchLabels", labels)])),
            ("template", template),
        ]),
    );
    Ok(out)
}

/// `create configmap` and `create secret generic`: literals, files (as name, content) and variables.
pub fn data(
    kind: &str,
    name: &str,
    literals: &[String],
    files: &[(String, Vec<u8>)],
    secret_type: &str,
) -> Result<Value, String> {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let (mut data, mut binary) = (Value::object(), Value::object());
    let mut put = |key: &str, bytes: &[u8]| {
        if data.has(key) || binary.has(key) {
            return Err(format!(
                "cannot add key {key:?}, another key by that name already exists in Data for {kind} {name:?}"
            ));
        }
        match std::str::from_utf8(bytes) {
            _ if kind == "Secret" => data.set(key, encode(bytes).as_str()),
            Ok(text) => data.set(key, text),
            Err(_) => binary.set(key, encode(bytes).as_str()),
        }
        Ok(())
    };
    for (key, bytes) in files {
        put(key, bytes)?;
    }
    for literal in literals {
        let (key, value) =
            literal.split_once('=').ok_or_else(|| format!("invalid literal source {literal}, expected key=value"))?;
        put(key, value.as_bytes())?;
    }
    let mut out = named("v1", kind, name);
    for (field, value) in [("data", data), ("binaryData", binary)] {
        if value.as_map().is_some_and(|m| !m.is_empty()) {
            out.set(field, value);
        }
    }
    if kind == "Secret" && !secret_type.is_empty() {
        out.set("type", secret_type);
    }
    Ok(out)
}

/// `create job` and `create cronjob`.
pub fn job(name: &str, given: &Given, command: &[String]) -> Result<Value, String> {
    let image = given.text("image");
    if image.is_empty() {
        return Err("either --image or --from must be specified".into());
    }
    let mut container = object([("name", Value::from(name)), ("image", Value::from(image))]);
    if !command.is_empty() {
        container.set("command", texts(command));
    }
    let restart = |default: &str| Value::from(if given.has("restart") { given.text("restart") } else { default });
    let pod = object([("containers", Value::List(vec![container])), ("restartPolicy", restart("Never"))]);
    let spec = object([("template", object([("spec", pod)]))]);
    if !given.has("schedule") {
        let mut out = named("batch/v1", "Job", name);
        out.set("spec", spec);
        return Ok(out);
    }
    let mut spec = spec;
    spec.entry("template").entry("spec").set("restartPolicy", restart("OnFailure"));
    let template = object([("metadata", object([("name", Value::from(name))])), ("spec", spec)]);
    let mut out = named("batch/v1", "CronJob", name);
    out.set("spec", object([("schedule", Value::from(given.text("schedule"))), ("jobTemplate", template)]));
    Ok(out)
}

/// `create service clusterip|nodeport|loadbalancer|externalname`.
pub fn service(kind: &str, name: &str, given: &Given) -> Result<Value, String> {
    let mut ports = Vec::new();
    for item in given.list("tcp") {
        let (port, target) = item.split_once(':').unwrap_or((item, item));
        let number = |text: &str| text.parse::<i64>().ok().filter(|n| (1..=65535).contains(n));
        let port_number = number(port).ok_or_else(|| format!("invalid port {port:?} in --tcp={item}"))?;
        let target = number(target).map_or_else(|| Value::from(target), Value::from);
        let mut entry = object([
            ("name", Value::from(item.replace(':', "-").as_str())),
            ("port", Value::from(port_number)),
            ("protocol", Value::from("TCP")),
            ("targetPort", target),
        ]);
        if given.int("node-port") > 0 {
            entry.set("nodePort", given.int("node-port"));
        }
        ports.push(entry);
    }
    let ty = match kind {
        "clusterip" => "ClusterIP",
        "nodeport" => "NodePort",
        "loadbalancer" => "LoadBalancer",
        _ => "ExternalName",
    };
    if ports.is_empty() && ty != "ExternalName" && given.text("clusterip") != "None" {
        return Err("at least one tcp port specifier must be provided".into());
    }
    let labels = object([("app", Value::from(name))]);
    let mut spec = object([("selector", labels.clone()), ("type", Value::from(ty))]);
    if !ports.is_empty() {
        spec.set("ports", Value::List(ports));
    }
    if given.has("clusterip") {
        spec.set("clusterIP", given.text("clusterip"));
    }
    if ty == "ExternalName" {
        spec.set("externalName", given.text("external-name"));
    }
    let mut out = named("v1", "Service", name);
    out.entry("metadata").set("labels", labels);
    out.set("spec", spec);
    Ok(out)
}

/// `create namespace|serviceaccount|…`: only a name.
pub fn bare(api_version: &str, kind: &str, name: &str) -> Value {
    named(api_version, kind, name)
}

/// `create role|clusterrole`.
pub fn role(kind: &str, name: &str, given: &Given, resources: &[(String, String)]) -> Result<Value, String> {
    if given.list("verb").is_empty() {
        return Err("at least one verb must be specified".into());
    }
    let mut out = named("rbac.authorization.k8s.io/v1", kind, name);
    let mut rules: Vec<Value> = Vec::new();
    for (group, resource) in resources {
        match rules.iter_mut().find(|r| r.at("apiGroups").items() == [Value::from(group.as_str())]) {
            Some(rule) => rule.entry("resources").make_list().push(Value::from(resource.as_str())),
            None => {
                let mut rule = object([
                    ("apiGroups", Value::List(vec![Value::from(group.as_str())])),
                    ("resources", Value::List(vec![Value::from(resource.as_str())])),
                    ("verbs", texts(given.list("verb"))),
                ]);
                if !given.list("resource-name").is_empty() {
                    rule.set("resourceNames", texts(given.list("resource-name")));
                }
                rules.push(rule);
            }
        }
    }
    out.set("rules", Value::List(rules));
    Ok(out)
}

/// `create rolebinding|clusterrolebinding`.
pub fn binding(kind: &str, name: &str, given: &Given) -> Result<Value, String> {
    let (role, cluster_role) = (given.text("role"), given.text("clusterrole"));
    if role.is_empty() == cluster_role.is_empty() {
        return Err("exactly one of clusterrole or role must be specified".into());
    }
    let group = "rbac.authorization.k8s.io";
    let (role_kind, role_name) = if role.is_empty() { ("ClusterRole", cluster_role) } else { ("Role", role) };
    let mut subjects = Vec::new();
    for (flag, kind) in [("user", "User"), ("group", "Group")] {
        for name in given.list(flag) {
            subjects.push(object([
                ("apiGroup", Value::from(group)),
                ("kind", Value::from(kind)),
                ("name", Value::from(name.as_str())),
            ]));
        }
    }
    for account in given.list("serviceaccount") {
        let (namespace, name) = account.split_once(':').ok_or("serviceaccount must be <namespace>:<name>")?;
        subjects.push(object([
            ("kind", Value::from("ServiceAccount")),
            ("name", Value::from(name)),
            ("namespace", Value::from(namespace)),
        ]));
    }
    let mut out = named("rbac.authorization.k8s.io/v1", kind, name);
    out.set(
        "roleRef",
        object([("apiGroup", Value::from(group)), ("kind", Value::from(role_kind)), ("name", Value::from(role_name))]),
    );
    out.set("subjects", Value::List(subjects));
    Ok(out)
}

/// `run`.
pub fn pod(name: &str, given: &Given, args: &[String]) -> Result<Value, String> {
    if given.text("image").is_empty() {
        return Err("required flag(s) \"image\" not set".into());
    }
    let mut container = object([("image", Value::from(given.text("image"))), ("name", Value::from(name))]);
    if !args.is_empty() {
        container.set(if given.on("command") { "command" } else { "args" }, texts(args));
    }
    let env: Result<Vec<Value>, String> = given
        .list("env")
        .iter()
        .map(|e| {
            let (key, value) = e.split_once('=').ok_or_else(|| format!("invalid env: {e}"))?;
            Ok(object([("name", Value::from(key)), ("value", Value::from(value))]))
        })
        .collect();
    let env = env?;
    if !env.is_empty() {
        container.set("env", Value::List(env));
    }
    if given.int("port") > 0 {
        container.set("ports", Value::List(vec![object([("containerPort", Value::from(given.int("port")))])]));
    }
    if given.has("image-pull-policy") {
        container.set("imagePullPolicy", given.text("image-pull-policy"));
    }
    if given.on("stdin") {
        container.set("stdin", true);
        container.set("stdinOnce", !given.on("leave-stdin-open"));
    }
    if given.on("tty") {
        container.set("tty", true);
    }
    if given.on("privileged") {
        container.set("securityContext", object([("privileged", Value::from(true))]));
    }
    let labels = if given.list("labels").is_empty() {
        object([("run", Value::from(name))])
    } else {
        pairs(given.list("labels"), "label")?
    };
    let restart = if given.has("restart") { given.text("restart") } else { "Always" };
    let mut out = named("v1", "Pod", name);
    out.entry("metadata").set("labels", labels);
    if !given.list("annotations").is_empty() {
        out.entry("metadata").set("annotations", pairs(given.list("annotations"), "annotation")?);
    }
    out.set(
        "spec",
        object([
            ("containers", Value::List(vec![container])),
            ("dnsPolicy", Value::from("ClusterFirst")),
            ("restartPolicy", Value::from(restart)),
        ]),
    );
    if !given.text("overrides").is_empty() {
        let overrides = api::json::parse(given.text("overrides").as_bytes()).map_err(|e| e.message)?;
        api::patch::merge::merge(&mut out, &overrides);
    }
    Ok(out)
}

/// `expose`: a service for a workload, a pod or a service.
pub fn expose(owner: &Value, given: &Given) -> Result<Value, String> {
    let spec = owner.at("spec");
    let selector = match given.text("selector") {
        "" if spec.at("selector").has("matchExpressions") => return Err("couldn't retrieve selectors via --selector flag or introspection: cannot convert expressions to a service's selector".into()),
        "" if owner.at("kind").str() == "Pod" => owner.at("metadata").at("labels").clone(),
        "" if spec.at("selector").has("matchLabels") => spec.at("selector").at("matchLabels").clone(),
        "" => spec.at("selector").clone(),
        text => pairs(&[text.to_string()], "selector")?,
    };
    if selector.as_map().is_none_or(api::Map::is_empty) {
        return Err("couldn't retrieve selectors via --selector flag or introspection: the object has no labels and cannot be exposed".into());
    }
    let ports = expose_ports(owner, given)?;
    let name = if given.has("name") { given.text("name") } else { owner.at("metadata").at("name").str() };
    let mut out = named("v1", "Service", name);
    if let Some(labels) = owner.at("metadata").get("labels") {
        out.entry("metadata").set("labels", labels.clone());
    }
    let mut service = object([("ports", Value::List(ports)), ("selector", selector)]);
    for (flag, field) in [
        ("type", "type"),
        ("cluster-ip", "clusterIP"),
        ("session-affinity", "sessionAffinity"),
        ("load-balancer-ip", "loadBalancerIP"),
    ] {
        if given.has(flag) {
            service.set(field, given.text(flag));
        }
    }
    if given.has("external-ip") {
        service.set("externalIPs", Value::List(vec![Value::from(given.text("external-ip"))]));
    }
    out.set("spec", service);
    Ok(out)
}

fn expose_ports(owner: &Value, given: &Given) -> Result<Vec<Value>, String> {
    let pod =
        if owner.at("kind").str() == "Pod" { owner.at("spec") } else { owner.at("spec").at("template").at("spec") };
    let target = |port: i64| match given.text("target-port") {
        "" => Value::from(port),
        text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
    };
    let found: Vec<(i64, String)> = if given.has("port") {
        vec![(given.int("port"), String::new())]
    } else if owner.at("kind").str() == "Service" {
        owner
            .at("spec")
            .at("ports")
            .items()
            .iter()
            .map(|p| (p.at("port").int(), p.at("protocol").str().to_string()))
            .collect()
    } else {
        let containers = pod.at("containers").items().iter();
        containers
            .flat_map(|c| c.at("ports").items())
            .map(|p| (p.at("containerPort").int(), p.at("protocol").str().to_string()))
            .collect()
    };
    if found.is_empty() {
        return Err("couldn't find port via --port flag or introspection".into());
    }
    let several = found.len() > 1;
    let entry = |(i, (port, protocol)): (usize, (i64, String))| {
        let flag = given.text("protocol");
        let protocol = if !flag.is_empty() {
            flag.to_string()
        } else if protocol.is_empty() {
            "TCP".to_string()
        } else {
            protocol
        };
        let mut entry = object([
            ("port", Value::from(port)),
            ("protocol", Value::from(protocol.as_str())),
            ("targetPort", target(port)),
        ]);
        if several {
            entry.set("name", format!("port-{}", i + 1).as_str());
        }
        entry
    };
    Ok(found.into_iter().enumerate().map(entry).collect())
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
