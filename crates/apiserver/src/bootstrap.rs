//! What every cluster has: namespaces, roles and bindings, priority classes, flow control, the `kubernetes` service.
//!
//! Roles are reconciled at every start (missing rules are added, as upstream does); everything else is made if missing.

use crate::registry::{Context, Registry, User};
use api::{Status, Value, f, json, value::object};
use std::sync::Arc;

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

const FILES: &[(&str, &str, &str)] = &[
    ("rbac.authorization.k8s.io", "clusterroles", include_str!("../../../facts/bootstrap/clusterroles.json")),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        include_str!("../../../facts/bootstrap/clusterrolebindings.json"),
    ),
    ("rbac.authorization.k8s.io", "roles", include_str!("../../../facts/bootstrap/roles.json")),
    ("rbac.authorization.k8s.io", "rolebindings", include_str!("../../../facts/bootstrap/rolebindings.json")),
    ("scheduling.k8s.io", "priorityclasses", include_str!("../../../facts/bootstrap/priorityclasses.json")),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        include_str!("../../../facts/bootstrap/prioritylevelconfigurations.json"),
    ),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", include_str!("../../../facts/bootstrap/flowschemas.json")),
];

/// Makes what is missing.
pub async fn run(registry: &Arc<Registry>) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(registry, "", "namespaces", "", object([("metadata", object([("name", (*name).into())]))])).await?;
    }
    for (group, plural, text) in FILES {
        let list = json::parse(text.as_bytes())
            .map_err(|e| Status::internal(format!("facts/bootstrap/{plural}.json: {e}")))?;
        let items = if list.as_list().is_some() { list.items() } else { list.at(f::items).items() };
        for item in items {
            let namespace = item.at(f::metadata).at(f::namespace).str().to_string();
            ensure(registry, group, plural, &namespace, item.clone()).await?;
        }
    }
    let (network, bits) = registry.settings.service_cidr;
    let cidr = object([
        ("metadata", object([("name", "kubernetes".into())])),
        ("spec", object([("cidrs", vec![format!("{network}/{bits}").into()].into())])),
    ]);
    ensure(registry, "networking.k8s.io", "servicecidrs", "", cidr).await?;
    kubernetes_service(registry).await
}

async fn ensure(
    registry: &Arc<Registry>,
    group: &str,
    plural: &str,
    namespace: &str,
    mut v: Value,
) -> Result<(), Status> {
    let r = kinds::resources()
        .iter()
        .find(|r| r.group == group && r.plural == plural)
        .ok_or_else(|| Status::internal(format!("{plural} are not served")))?;
    v.remove(f::kind);
    v.remove(f::apiVersion);
    v.remove(f::status);
    if let Some(m) = v.get_mut(f::metadata).and_then(Value::as_map_mut) {
        m.retain(|k, _| matches!(k.as_str(), "name" | "namespace" | "labels" | "annotations"));
    }
    let name = v.at(f::metadata).at(f::name).str().to_string();
    if registry.load(r, namespace, &name).is_some() {
        return Ok(());
    }
    api::decode::decode(&mut v, r.ty, &mut api::decode::Notes::default()).map_err(Status::internal)?;
    match registry.create(&mut context(), r, namespace, v).await {
        Err(s) if s.reason == "AlreadyExists" => Ok(()),
        other => other.map(drop),
    }
}

fn context() -> Context {
    let user = User { name: "system:apiserver".into(), groups: vec!["system:masters".into()], ..User::default() };
    Context {
        user,
        agent: "kube-apiserver".into(),
        field_manager: "kube-apiserver".into(),
        validation: "Ignore".into(),
        ..Context::default()
    }
}

/// The service that leads to this server, and its endpoints.
async fn kubernetes_service(registry: &Arc<Registry>) -> Result<(), Status> {
    let (network, _) = registry.settings.service_cidr;
    let ip = std::net::Ipv4Addr::from(u32::from(network) + 1).to_string();
    let (address, port) = registry.settings.advertise;
    let labels = object([("component", "apiserver".into()), ("provider", "kubernetes".into())]);
    let ports = |target: bool| {
        let mut p = object([
            ("name", "https".into()),
            ("port", if target { 443.into() } else { i64::from(port).into() }),
            ("protocol", "TCP".into()),
        ]);
        if target {
            p.set("targetPort", i64::from(port));
        }
        Value::List(vec![p])
    };
    let meta = || object([("name", "kubernetes".into()), ("namespace", "default".into()), ("labels", labels.clone())]);
    let spec = object([
        ("clusterIP", ip.as_str().into()),
        ("type", "ClusterIP".into()),
        ("sessionAffinity", "None".into()),
        ("ports", ports(true)),
    ]);
    ensure(registry, "", "services", "default", object([("metadata", meta()), ("spec", spec)])).await?;
    if address.is_loopback() {
        return Ok(()); // nobody else could reach it
    }
    let subset =
        object([("addresses", vec![object([("ip", address.to_string().into())])].into()), ("ports", ports(false))]);
    let mut labelled = meta();
    labelled.set(f::labels, object([("endpointslice.kubernetes.io/skip-mirror", "true".into())]));
    replace(registry, "", "endpoints", object([("metadata", labelled), ("subsets", vec![subset].into())]), "subsets")
        .await?;
    let mut labelled = meta();
    labelled.set(f::labels, object([("kubernetes.io/service-name", "kubernetes".into())]));
    let endpoint = object([
        ("addresses", vec![address.to_string().into()].into()),
        ("conditions", object([("ready", true.into())])),
    ]);
    let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let slice = object([
        ("metadata", labelled),
        ("addressType", kind.into()),
        ("endpoints", vec![endpoint].into()),
        ("ports", ports(false)),
    ]);
    replace(registry, "discovery.k8s.io", "endpointslices", slice, "endpoints").await
}

/// Makes an object, or brings one member of it up to date.
async fn replace(
    registry: &Arc<Registry>,
    group: &str,
    plural: &str,
    v: Value,
    member: &'static str,
) -> Result<(), Status> {
    let r = kinds::resources()
        .iter()
        .find(|r| r.group == group && r.plural == plural)
        .ok_or_else(|| Status::internal(format!("{plural} are not served")))?;
    if registry.load(r, "default", "kubernetes").is_none() {
        return ensure(registry, group, plural, "default", v).await;
    }
    let mut patch = Value::object();
    for key in [member, "ports"] {
        if let Some(x) = v.get(key) {
            patch.set(key, x.clone());
        }
    }
    let body = json::to_string(&patch);
    let kind = crate::registry::patch::PatchKind::Merge;
    registry
        .patch(
            &mut context(),
            r,
            "default",
            "kubernetes",
            crate::registry::write::Part::Main,
            kind,
            body.as_bytes(),
            false,
        )
        .await
        .map(drop)
}
