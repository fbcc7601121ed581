//! What a node's identity may do: its own node, lease and pods, and what those pods refer to.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/node`. The graph of references is looked up on demand in the
//! pods that are bound to the node, found by index.

use super::rbac::{Attributes, User};
use api::{Value, f};

/// The name of the node that a user is.
pub fn node_name(user: &User) -> Option<&str> {
    if !user.in_group("system:nodes") {
        return None;
    }
    user.name.strip_prefix("system:node:").filter(|n| !n.is_empty())
}

/// What a decision may look at.
pub trait Graph {
    /// The pods bound to a node.
    fn pods_of(&self, node: &str) -> Vec<Value>;
    /// An object.
    fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value>;
}

const LOOK: &[&str] = &["get", "list", "watch"];
const WRITE_OWN: &[&str] = &["get", "create", "update", "patch", "delete"];

/// A node, what it asks, and what the decision may look at.
struct Asked<'a> {
    node: &'a str,
    a: &'a Attributes<'a>,
    graph: &'a dyn Graph,
}

/// Allowed, or why not (a suffix of the refusal).
pub fn authorize(node: &str, a: &Attributes, graph: &dyn Graph) -> Result<(), String> {
    if !a.is_resource {
        return Err(String::new());
    }
    let asked = Asked { node, a, graph };
    match (a.group, a.resource) {
        ("", "secrets" | "configmaps") => asked.read(),
        ("", "persistentvolumeclaims") if a.subresource == "status" => {
            if !matches!(a.verb, "update" | "patch") {
                return Err("can only get/update/patch this type".into());
            }
            asked.related()
        }
        ("", "persistentvolumeclaims" | "persistentvolumes")
        | ("resource.k8s.io", "resourceclaims")
        | ("storage.k8s.io", "volumeattachments") => asked.get(),
        ("", "serviceaccounts") if a.verb != "get" => asked.token(),
        ("coordination.k8s.io", "leases") => asked.lease(),
        ("storage.k8s.io", "csinodes") => asked.own("CSINode", "a CSINode"),
        ("resource.k8s.io", "resourceslices") => asked.slice(),
        ("", "nodes") => asked.node(),
        ("", "pods") => asked.pod(),
        _ if uniform(a) => Ok(()),
        _ => Err(String::new()),
    }
}

/// What every node may, whichever it is.
fn uniform(a: &Attributes) -> bool {
    if !a.subresource.is_empty() {
        return false;
    }
    match (a.group, a.resource) {
        ("", "services")
        | ("discovery.k8s.io", "endpointslices")
        | ("networking.k8s.io", "servicecidrs")
        | ("node.k8s.io", "runtimeclasses")
        | ("storage.k8s.io", "csidrivers") => LOOK.contains(&a.verb),
        ("", "endpoints" | "namespaces" | "serviceaccounts") => a.verb == "get",
        ("" | "events.k8s.io", "events") => matches!(a.verb, "create" | "update" | "patch"),
        ("authentication.k8s.io", "tokenreviews")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => a.verb == "create",
        ("certificates.k8s.io", "certificatesigningrequests") => a.verb == "create" || LOOK.contains(&a.verb),
        _ => false,
    }
}

impl Asked<'_> {
    /// Objects of a namespace that the node's pods use, by name.
    fn read(&self) -> Result<(), String> {
        if !LOOK.contains(&self.a.verb) {
            return Err("can only read resources of this type".into());
        }
        if !self.a.subresource.is_empty() {
            return Err("cannot read subresource".into());
        }
        if self.a.namespace.is_empty() {
            return Err("can only read namespaced object of this type".into());
        }
        self.related()
    }

    /// Single objects that the node's pods use.
    fn get(&self) -> Result<(), String> {
        if self.a.verb != "get" {
            return Err("can only get individual resources of this type".into());
        }
        if !self.a.subresource.is_empty() {
            return Err("cannot get subresource".into());
        }
        self.related()
    }

    fn related(&self) -> Result<(), String> {
        if self.a.name.is_empty() {
            return Err("No Object name found".into());
        }
        if self.uses() { Ok(()) } else { self.unrelated() }
    }

    fn unrelated(&self) -> Result<(), String> {
        Err(format!("no relationship found between node '{}' and this object", self.node))
    }

    /// Whether the node has to do with the object.
    fn uses(&self) -> bool {
        let a = self.a;
        match a.resource {
            "volumeattachments" => self
                .graph
                .object(a.group, a.resource, "", a.name)
                .is_some_and(|v| v.at(f::spec).at(f::nodeName).str() == self.node),
            "resourceslices" => self
                .graph
                .object(a.group, a.resource, "", a.name)
                .is_some_and(|v| v.at(f::spec).at(f::nodeName).str() == self.node),
            _ => self.graph.pods_of(self.node).iter().any(|pod| self.pod_uses(pod)),
        }
    }

    fn pod_uses(&self, pod: &Value) -> bool {
        let (a, m) = (self.a, pod.at(f::metadata));
        let here = m.at(f::namespace).str() == a.namespace;
        match a.resource {
            "pods" => here && m.at(f::name).str() == a.name,
            "serviceaccounts" => here && pod.at(f::spec).at(f::serviceAccountName).str() == a.name,
            "persistentvolumeclaims" => here && claims(pod).any(|c| c == a.name),
            "resourceclaims" => here && resource_claims(pod).any(|c| c == a.name),
            "configmaps" => here && refers(pod, a.resource, a.name),
            "secrets" => here && refers(pod, a.resource, a.name) || self.volumes(pod).any(|v| volume_secret(&v, a)),
            "persistentvolumes" => self.volumes(pod).any(|v| v.at(f::metadata).at(f::name).str() == a.name),
            _ => false,
        }
    }

    /// The persistent volumes behind a pod's claims.
    fn volumes(&self, pod: &Value) -> impl Iterator<Item = Value> {
        let namespace = pod.at(f::metadata).at(f::namespace).str().to_string();
        let names: Vec<String> = claims(pod).collect();
        names.into_iter().filter_map(move |claim| {
            let claim = self.graph.object("", "persistentvolumeclaims", &namespace, &claim)?;
            self.graph.object("", "persistentvolumes", "", claim.at(f::spec).at(f::volumeName).str())
        })
    }

    fn token(&self) -> Result<(), String> {
        if self.a.verb != "create" || self.a.name.is_empty() {
            return Err("can only create tokens for individual service accounts".into());
        }
        if self.a.subresource != "token" {
            return Err("can only create token subresource of serviceaccount".into());
        }
        if self.uses() { Ok(()) } else { self.unrelated() }
    }

    fn lease(&self) -> Result<(), String> {
        if WRITE_OWN.contains(&self.a.verb) && self.a.namespace != "kube-node-lease" {
            return Err(format!("can only access leases in the {:?} system namespace", "kube-node-lease"));
        }
        self.own("node lease", "a node lease")
    }

    /// The object with the node's own name; admission looks at the name of a new one.
    fn own(&self, kind: &str, any: &str) -> Result<(), String> {
        if !WRITE_OWN.contains(&self.a.verb) {
            return Err(format!("can only get, create, update, patch, or delete {any}"));
        }
        if !self.a.subresource.is_empty() {
            return Err(format!("cannot authorize {kind} subresources"));
        }
        if self.a.verb != "create" && self.a.name != self.node {
            return Err(format!("can only access {kind} with the same name as the requesting node"));
        }
        Ok(())
    }

    fn slice(&self) -> Result<(), String> {
        if !self.a.subresource.is_empty() {
            return Err("cannot authorize ResourceSlice subresources".into());
        }
        match self.a.verb {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(),
            "watch" | "list" | "deletecollection" if self.narrowed("spec.nodeName") || self.narrowed("nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => {
                Err("can only list/watch/deletecollection resourceslices with nodeName field selector".into())
            }
            _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".into()),
        }
    }

    /// Whether a list or watch shows the node's own only.
    fn narrowed(&self, field: &str) -> bool {
        self.a.fields.and_then(|f| f.required(field)) == Some(self.node)
    }

    /// A node reads its own object; admission keeps it to writing its own.
    fn node(&self) -> Result<(), String> {
        let (node, name) = (self.node, self.a.name);
        match (self.a.subresource, self.a.verb) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") if name == node => Ok(()),
            ("", "get" | "list" | "watch") if name.is_empty() => {
                Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => {
                Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => Err(String::new()),
        }
    }

    fn pod(&self) -> Result<(), String> {
        match (self.a.subresource, self.a.verb) {
            ("", "get") => self.get(),
            ("", "list" | "watch") if self.narrowed("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !self.a.name.is_empty() => self.related(),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }
}

/// The claims that a pod mounts, its own among them.
fn claims(pod: &Value) -> impl Iterator<Item = String> {
    let name = pod.at(f::metadata).at(f::name).str();
    pod.at(f::spec).at(f::volumes).items().iter().filter_map(move |v| {
        if v.has(f::ephemeral) {
            return Some(format!("{name}-{}", v.at(f::name).str()));
        }
        v.at(f::persistentVolumeClaim).at(f::claimName).as_str().map(String::from)
    })
}

fn resource_claims(pod: &Value) -> impl Iterator<Item = &str> {
    let named = pod.at(f::spec).at(f::resourceClaims).items().iter();
    let made = pod.at(f::status).at(f::resourceClaimStatuses).items().iter();
    named.chain(made).filter_map(|c| c.at(f::resourceClaimName).as_str())
}

/// Whether a persistent volume is mounted with a secret.
fn volume_secret(volume: &Value, a: &Attributes) -> bool {
    let namespace = volume.at(f::spec).at(f::claimRef).at(f::namespace).str();
    volume.at(f::spec).members().any(|(_, source)| {
        [f::secretRef, f::nodePublishSecretRef, f::nodeStageSecretRef, f::nodeExpandSecretRef].iter().any(|k| {
            let r = source.at(*k);
            let of = r.at(f::namespace).str();
            r.at(f::name).str() == a.name && a.namespace == (if of.is_empty() { namespace } else { of })
        })
    })
}

/// Whether a pod refers to a secret or config map.
fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = pod.at(f::spec);
    let (source, name_key, env_from, key_ref) = match resource {
        "secrets" => (f::secret, f::secretName, f::secretRef, f::secretKeyRef),
        _ => (f::configMap, f::name, f::configMapRef, f::configMapKeyRef),
    };
    if resource == "secrets" && spec.at(f::imagePullSecrets).items().iter().any(|s| s.at(f::name).str() == name) {
        return true;
    }
    let volume = spec.at(f::volumes).items().iter().any(|v| {
        let drivers = resource == "secrets"
            && v.members().any(|(_, s)| {
                [f::secretRef, f::nodePublishSecretRef].iter().any(|k| s.at(*k).at(f::name).str() == name)
                    || s.at(f::secretName).str() == name
            });
        drivers
            || v.at(source).at(name_key).str() == name
            || v.at(f::projected).at(f::sources).items().iter().any(|s| s.at(source).at(f::name).str() == name)
    });
    volume
        || kinds::rules::pod::containers(spec).any(|(_, c)| {
            c.at(f::envFrom).items().iter().any(|e| e.at(env_from).at(f::name).str() == name)
                || c.at(f::env).items().iter().any(|e| e.at(f::valueFrom).at(key_ref).at(f::name).str() == name)
        })
}

/// What a pod refers to that a node's own pods cannot.
pub fn reference(spec: &Value) -> Option<&'static str> {
    if !spec.at(f::serviceAccountName).str().is_empty() {
        return Some("a service account"); // upstream's word for it
    }
    let volumes = spec.at(f::volumes).items();
    let projected =
        |key: api::Name| volumes.iter().any(|v| v.at(f::projected).at(f::sources).items().iter().any(|s| s.has(key)));
    let env = |from: api::Name, key: api::Name| {
        kinds::rules::pod::containers(spec).any(|(_, c)| {
            c.at(f::envFrom).items().iter().any(|e| e.has(from))
                || c.at(f::env).items().iter().any(|e| e.at(f::valueFrom).has(key))
        })
    };
    let secret_volume =
        |v: &Value| v.has(f::secret) || v.members().any(|(_, s)| s.has(f::secretRef) || s.has(f::nodePublishSecretRef));
    if !spec.at(f::imagePullSecrets).is_zero()
        || volumes.iter().any(secret_volume)
        || projected(f::secret)
        || env(f::secretRef, f::secretKeyRef)
    {
        return Some("secrets");
    }
    if volumes.iter().any(|v| v.has(f::configMap))
        || projected(f::configMap)
        || env(f::configMapRef, f::configMapKeyRef)
    {
        return Some("configmaps");
    }
    if projected(f::clusterTrustBundle) {
        return Some("clustertrustbundles");
    }
    volumes.iter().any(|v| v.has(f::persistentVolumeClaim)).then_some("persistentvolumeclaims")
}
