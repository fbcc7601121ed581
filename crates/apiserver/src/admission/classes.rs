//! Classes that objects name or get: RuntimeClass, DefaultStorageClass, DefaultIngressClass, PersistentVolumeClaimResize.

use super::{Attrs, Operation};
use crate::registry::Registry;
use api::quantity::Quantity;
use api::{Status, Value, f};

/// A pod with a runtime class gets its overhead and goes where the runtime is.
pub fn runtime_class(registry: &Registry, a: &Attrs, pod: &mut Value) -> Result<(), Status> {
    let spec = pod.entry(f::spec);
    let name = spec.at(f::runtimeClassName).str().to_string();
    if name.is_empty() {
        return if spec.at(f::overhead).is_zero() {
            Ok(())
        } else {
            Err(a.forbid("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
        };
    }
    let class = registry
        .find("node.k8s.io", "runtimeclasses", "", &name)
        .ok_or_else(|| a.forbid(format!("pod rejected: RuntimeClass {name:?} not found")))?;
    let fixed = class.at(f::overhead).at(f::podFixed);
    if spec.at(f::overhead).is_zero() {
        if !fixed.is_zero() {
            spec.set(f::overhead, fixed.clone());
        }
    } else if fixed.is_zero() {
        return Err(a.forbid("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
    } else if !same_amounts(spec.at(f::overhead), fixed) {
        return Err(a.forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"));
    }
    let scheduling = class.at(f::scheduling);
    for (k, v) in scheduling.at(f::nodeSelector).members() {
        let selector = spec.entry(f::nodeSelector);
        match selector.get(k) {
            Some(own) if own != v => {
                return Err(a.forbid(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{}] = {}; pod.spec.nodeSelector[{0}] = {}",
                    k.as_str(),
                    v.str(),
                    own.str()
                )));
            }
            Some(_) => {}
            None => selector.set(k, v.clone()),
        }
    }
    for t in scheduling.at(f::tolerations).items() {
        let list = spec.entry(f::tolerations).make_list();
        if !list.contains(t) {
            list.push(t.clone());
        }
    }
    Ok(())
}

fn same_amounts(a: &Value, b: &Value) -> bool {
    let amount = |v: &Value| Quantity::parse(v.str()).ok();
    a.members().count() == b.members().count() && a.members().all(|(k, v)| amount(v) == amount(b.at(k)))
}

/// The newest class that is marked as the default one; of equally old ones the first by name.
fn default_class(registry: &Registry, group: &str, plural: &str, mark: &str) -> Option<String> {
    let marked = registry
        .all(group, plural, "")
        .into_iter()
        .filter(|c| c.at(f::metadata).at(f::annotations).at(mark).str() == "true");
    let newest = marked.max_by(|x, y| {
        let time = |v: &Value| v.at(f::metadata).at(f::creationTimestamp).str().to_string();
        let name = |v: &Value| v.at(f::metadata).at(f::name).str().to_string();
        time(x).cmp(&time(y)).then_with(|| name(y).cmp(&name(x)))
    });
    newest.map(|c| c.at(f::metadata).at(f::name).str().to_string())
}

/// A claim that names no class gets the default one.
pub fn storage_class(registry: &Registry, claim: &mut Value) {
    const OLD: &str = "volume.beta.kubernetes.io/storage-class";
    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
    if claim.at(f::spec).has(f::storageClassName) || claim.at(f::metadata).at(f::annotations).has(OLD) {
        return;
    }
    let older = || {
        default_class(registry, "storage.k8s.io", "storageclasses", "storageclass.beta.kubernetes.io/is-default-class")
    };
    if let Some(name) = default_class(registry, "storage.k8s.io", "storageclasses", DEFAULT).or_else(older) {
        claim.entry(f::spec).set(f::storageClassName, name);
    }
}

/// An ingress that names no class gets the default one.
pub fn ingress_class(registry: &Registry, ingress: &mut Value) {
    const OLD: &str = "kubernetes.io/ingress.class";
    if ingress.at(f::spec).has(f::ingressClassName) || ingress.at(f::metadata).at(f::annotations).has(OLD) {
        return;
    }
    const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
    if let Some(name) = default_class(registry, "networking.k8s.io", "ingressclasses", DEFAULT) {
        ingress.entry(f::spec).set(f::ingressClassName, name);
    }
}

/// Only claims of classes that can grow do.
pub fn resize(registry: &Registry, a: &Attrs, claim: &Value) -> Result<(), Status> {
    let Some(old) = a.old.filter(|_| a.operation == Operation::Update && a.is("persistentvolumeclaims")) else {
        return Ok(());
    };
    let size = |v: &Value| Quantity::parse(v.at(f::spec).at(f::resources).at(f::requests).at("storage").str()).ok();
    if size(claim) <= size(old) {
        return Ok(());
    }
    if old.at(f::status).at(f::phase).str() != "Bound" {
        return Err(a.forbid("Only bound persistent volume claims can be expanded"));
    }
    let class = claim.at(f::spec).at(f::storageClassName).str();
    let grows = registry
        .find("storage.k8s.io", "storageclasses", "", class)
        .is_some_and(|c| c.at(f::allowVolumeExpansion).is_true());
    if grows {
        Ok(())
    } else {
        Err(a.forbid(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}
