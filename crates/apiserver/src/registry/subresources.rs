//! Subresources that write the object they belong to: scale, binding, eviction, finalize, approval, ephemeral containers.

use super::write::Part;
use super::{Context, Outcome, Registry, delete::DeleteOptions};
use api::errors::{FieldErrors, Path};
use api::{Status, Value, f, value::object};
use kinds::Resource;
use std::sync::Arc;

impl Registry {
    /// The scale of a workload.
    pub fn scale_of(&self, r: &Resource, v: &Value) -> Value {
        let (spec, status, m) = (v.at(f::spec), v.at(f::status), v.at(f::metadata));
        let mut meta = Value::object();
        for key in [f::name, f::namespace, f::uid, f::resourceVersion, f::creationTimestamp] {
            if m.has(key) {
                meta.set(key, m.at(key).clone());
            }
        }
        let selector = match r.kind.as_str() {
            "ReplicationController" => {
                spec.at(f::selector).as_map().map(api::selector::LabelSelector::from_map).unwrap_or_default()
            }
            _ => api::selector::LabelSelector::from_object(spec.at(f::selector)).unwrap_or_default(),
        };
        let mut s = object([("replicas", status.at(f::replicas).int().into())]);
        let text = selector_text(&selector);
        if !text.is_empty() {
            s.set(f::selector, text);
        }
        let mut desired = Value::object();
        if spec.at(f::replicas).int() != 0 {
            desired.set(f::replicas, spec.at(f::replicas).int());
        }
        object([
            (f::kind, "Scale".into()),
            (f::apiVersion, "autoscaling/v1".into()),
            (f::metadata, meta),
            (f::spec, desired),
            (f::status, s),
        ])
    }

    /// Sets the number of replicas.
    pub async fn set_scale(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        scale: &Value,
    ) -> Result<Outcome, Status> {
        let own = scale.at(f::metadata).at(f::name).str();
        if !own.is_empty() && own != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({name})"
            )));
        }
        let replicas = scale.at(f::spec).at(f::replicas).int();
        if replicas < 0 {
            let mut errs = FieldErrors::new();
            let root = Path::Root;
            let spec = root.child("spec");
            errs.invalid(&spec.child("replicas"), replicas, "must be greater than or equal to 0");
            return Err(Status::invalid("autoscaling", "Scale", name, &errs));
        }
        let given = scale.at(f::metadata).at(f::resourceVersion).str().to_string();
        let done = self
            .guaranteed(cx, r, namespace, name, Part::Sub("scale"), &mut |registry, cx, live| {
                let Some((live, at)) = live else { return Err(Status::not_found(&r.group, &r.plural, name)) };
                if !given.is_empty() && given != "0" && given != at.revision.to_string() {
                    return Err(Status::conflict(&r.group, &r.plural, name, Status::MODIFIED));
                }
                let mut new = live.clone();
                new.entry(f::spec).set(f::replicas, replicas);
                registry.own(cx, r, live, &mut new, false, Part::Sub("scale"));
                Ok(Some(new))
            })
            .await?;
        match done {
            Outcome::Object(_, bytes, code) => Ok(Outcome::Made(self.scale_of(r, &self.served_tree(&bytes, r)), code)),
            other => Ok(other),
        }
    }

    /// Binds a pod to a node.
    pub async fn bind(
        self: &Arc<Self>,
        cx: &mut Context,
        namespace: &str,
        name: &str,
        binding: &Value,
    ) -> Result<Outcome, Status> {
        let r = kinds::by_path("", "v1", "pods").ok_or_else(|| Status::internal("pods are not served"))?;
        let own = binding.at(f::metadata).at(f::name).str();
        if own != name {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let target = binding.at(f::target);
        let mut errs = FieldErrors::new();
        let root = Path::Root;
        let path = root.child("target");
        if !matches!(target.at(f::kind).str(), "" | "Node") {
            errs.not_supported(&path.child("kind"), target.at(f::kind), &["Node", "<empty>"]);
        }
        if target.at(f::name).str().is_empty() {
            errs.required(&path.child("name"), "");
        }
        if !errs.is_empty() {
            return Err(Status::unclassified(errs.aggregate()));
        }
        let node = target.at(f::name).str();
        let uid = binding.at(f::metadata).at(f::uid).str();
        self.guaranteed(cx, r, namespace, name, Part::Sub("binding"), &mut |registry, cx, live| {
            let Some((live, _)) = live else { return Err(Status::not_found("", "pods", name)) };
            let conflict = |why: String| Status::conflict("", "pods/binding", name, &why);
            let m = live.at(f::metadata);
            if !uid.is_empty() && uid != m.at(f::uid).str() {
                return Err(conflict(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    m.at(f::uid).str()
                )));
            }
            if m.has(f::deletionTimestamp) {
                return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
            }
            let bound = live.at(f::spec).at(f::nodeName).str();
            if !bound.is_empty() {
                return Err(conflict(format!("pod {name} is already assigned to node {bound:?}")));
            }
            if !live.at(f::spec).at(f::schedulingGates).is_zero() {
                return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
            }
            let mut new = live.clone();
            new.entry(f::spec).set(f::nodeName, node);
            for (k, v) in binding.at(f::metadata).at(f::annotations).members() {
                new.entry(f::metadata).entry(f::annotations).set(k, v.clone());
            }
            let bound = registry.find("", "nodes", "", node);
            let labels = bound.as_ref().map_or(&Value::Null, |n| n.at(f::metadata).at(f::labels));
            for key in ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"] {
                let sent = binding.at(f::metadata).at(f::labels).get(key);
                if let Some(v) = labels.get(key).or(sent) {
                    new.entry(f::metadata).entry(f::labels).set(key, v.clone());
                }
            }
            let now = registry.now();
            scheduled(new.entry(f::status), &now);
            registry.own(cx, r, live, &mut new, false, Part::Sub("binding"));
            Ok(Some(new))
        })
        .await?;
        Ok(Outcome::from(Status { code: 201, success: true, ..Status::default() }))
    }

    /// Evicts a pod, if the budgets allow.
    pub async fn evict(
        self: &Arc<Self>,
        cx: &mut Context,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Outcome, Status> {
        let r = kinds::by_path("", "v1", "pods").ok_or_else(|| Status::internal("pods are not served"))?;
        let (pod, _) = self.load(r, namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
        let attrs = super::Attrs {
            operation: super::Operation::Create,
            resource: r,
            subresource: "eviction",
            namespace,
            name,
            user: &cx.user.clone(),
            dry_run: cx.dry_run || options.dry_run,
            old: Some(&pod),
        };
        crate::admission::validate(self, &attrs, &Value::Null, &mut cx.warnings)?;
        let attrs_dry = attrs.dry_run;
        let phase = pod.at(f::status).at(f::phase).str();
        let free = matches!(phase, "Succeeded" | "Failed" | "Pending") || pod.at(f::metadata).has(f::deletionTimestamp);
        if !free {
            self.spend_budget(cx, namespace, &pod).await?;
        }
        if !free && !attrs_dry {
            self.mark_evicted(cx, r, namespace, name).await?;
        }
        self.delete(cx, r, namespace, name, &options).await?;
        Ok(Outcome::from(Status { code: 201, success: true, ..Status::default() }))
    }

    /// Says on the pod why it goes.
    async fn mark_evicted(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        self.guaranteed(cx, r, namespace, name, Part::Status, &mut |registry, cx, live| {
            let Some((live, _)) = live else { return Err(Status::not_found("", "pods", name)) };
            let mut new = live.clone();
            let now = registry.now();
            let target = object([
                ("type", "DisruptionTarget".into()),
                ("status", "True".into()),
                ("lastTransitionTime", now.into()),
                ("reason", "EvictionByEvictionAPI".into()),
                ("message", "Eviction API: evicting".into()),
            ]);
            set_condition(new.entry(f::status), target);
            registry.own(cx, r, live, &mut new, false, Part::Status);
            Ok(Some(new))
        })
        .await
        .map(drop)
    }

    async fn spend_budget(self: &Arc<Self>, cx: &mut Context, namespace: &str, pod: &Value) -> Result<(), Status> {
        let r = kinds::by_path("policy", "v1", "poddisruptionbudgets")
            .ok_or_else(|| Status::internal("budgets are not served"))?;
        let labels = pod.at(f::metadata).at(f::labels);
        let budgets: Vec<Value> = self
            .all("policy", "poddisruptionbudgets", namespace)
            .into_iter()
            .filter(|b| {
                api::selector::LabelSelector::from_object(b.at(f::spec).at(f::selector))
                    .is_ok_and(|s| s.matches(labels))
            })
            .collect();
        let [budget] = &budgets[..] else {
            return if budgets.is_empty() {
                Ok(())
            } else {
                Err(Status::unclassified(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ))
            };
        };
        if unhealthy_may_go(pod, budget) {
            return Ok(());
        }
        let name = budget.at(f::metadata).at(f::name).str().to_string();
        let pod_name = pod.at(f::metadata).at(f::name).str().to_string();
        self.guaranteed(cx, r, namespace, &name, Part::Status, &mut |registry, cx, live| {
            let Some((live, _)) = live else { return Ok(None) };
            let status = live.at(f::status);
            let refuse = |message: String, seconds: u32| {
                let mut s = Status::failure(
                    429,
                    "TooManyRequests",
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                );
                s.causes.push(api::status::Cause { reason: "DisruptionBudget".into(), message, field: String::new() });
                s.retry_after = seconds;
                s.details = true;
                s
            };
            if status.at(f::observedGeneration).int() < live.at(f::metadata).at(f::generation).int() {
                return Err(refuse(
                    format!("The disruption budget {name} is still being processed by the server."),
                    10,
                ));
            }
            if status.at(f::disruptionsAllowed).int() <= 0 {
                return Err(refuse(
                    format!(
                        "The disruption budget {name} needs {} healthy pods and has {} currently",
                        status.at(f::desiredHealthy).int(),
                        status.at(f::currentHealthy).int()
                    ),
                    0,
                ));
            }
            let mut new = live.clone();
            spend(new.entry(f::status), &pod_name, registry.now());
            registry.own(cx, r, live, &mut new, false, Part::Status);
            Ok(Some(new))
        })
        .await
        .map(drop)
    }
}

/// Whether a pod that is not ready may go without asking the budget.
fn unhealthy_may_go(pod: &Value, budget: &Value) -> bool {
    let ready = |c: &Value| c.at(f::type_).str() == "Ready" && c.at(f::status).str() == "True";
    if pod.at(f::status).at(f::conditions).items().iter().any(ready) {
        return false;
    }
    let status = budget.at(f::status);
    let (healthy, wanted) = (status.at(f::currentHealthy).int(), status.at(f::desiredHealthy).int());
    match budget.at(f::spec).at(f::unhealthyPodEvictionPolicy).str() {
        "AlwaysAllow" => true,
        _ => healthy >= wanted && wanted > 0,
    }
}

/// One disruption less, for a pod.
fn spend(status: &mut Value, pod: &str, now: String) {
    let allowed = status.at(f::disruptionsAllowed).int() - 1;
    status.set(f::disruptionsAllowed, allowed);
    status.entry(f::disruptedPods).set(pod, now.as_str());
    if allowed == 0 {
        let spent = object([
            ("type", "DisruptionAllowed".into()),
            ("status", "False".into()),
            ("observedGeneration", status.at(f::observedGeneration).clone()),
            ("lastTransitionTime", now.into()),
            ("reason", "InsufficientPods".into()),
            ("message", "".into()),
        ]);
        set_condition(status, spent);
    }
}

/// Sets a condition by its type.
fn set_condition(status: &mut Value, condition: Value) {
    let list = status.entry(f::conditions).make_list();
    match list.iter_mut().find(|c| c.at(f::type_) == condition.at(f::type_)) {
        Some(c) => *c = condition,
        None => list.push(condition),
    }
}

/// A scheduled pod says so.
fn scheduled(status: &mut Value, now: &str) {
    let list = status.entry(f::conditions).make_list();
    let condition =
        object([("type", "PodScheduled".into()), ("status", "True".into()), ("lastTransitionTime", now.into())]);
    match list.iter_mut().find(|c| c.at(f::type_).str() == "PodScheduled") {
        Some(c) if c.at(f::status).str() == "True" => {}
        Some(c) => *c = condition,
        None => list.push(condition),
    }
}

/// A selector's text form.
fn selector_text(s: &api::selector::LabelSelector) -> String {
    use api::selector::Operator;
    let mut parts: Vec<String> = s
        .requirements
        .iter()
        .map(|r| match r.operator {
            Operator::In if r.values.len() == 1 => format!("{}={}", r.key, r.values[0]),
            Operator::In => format!("{} in ({})", r.key, r.values.join(",")),
            Operator::NotIn if r.values.len() == 1 => format!("{}!={}", r.key, r.values[0]),
            Operator::NotIn => format!("{} notin ({})", r.key, r.values.join(",")),
            Operator::Exists => r.key.clone(),
            Operator::Absent => format!("!{}", r.key),
            Operator::Greater => format!("{}>{}", r.key, r.values.join("")),
            Operator::Less => format!("{}<{}", r.key, r.values.join("")),
        })
        .collect();
    parts.sort();
    parts.join(",")
}
