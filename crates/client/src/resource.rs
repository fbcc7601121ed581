//! Which resource a request is about, and where it lives.

use crate::transport::percent_encode;
use std::borrow::Cow;

/// A served resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version.
    pub version: Cow<'static, str>,
    /// Plural name.
    pub plural: Cow<'static, str>,
    /// Kind.
    pub kind: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

const fn resource(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Resource {
    Resource {
        group: Cow::Borrowed(group),
        version: Cow::Borrowed(version),
        plural: Cow::Borrowed(plural),
        kind: Cow::Borrowed(kind),
        namespaced,
    }
}

macro_rules! resources {
    ($($name:ident $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        $(
            #[doc = concat!("`", $plural, "` of `", $group, "/", $version, "`.")]
            pub const $name: Resource = resource($group, $version, $plural, $kind, $namespaced);
        )*
    };
}

/// The resources that components use by name.
pub mod resources {
    use super::{Resource, resource};
    resources! {
        CONFIGMAPS "" "v1" "configmaps" "ConfigMap" true;
        ENDPOINTS "" "v1" "endpoints" "Endpoints" true;
        EVENTS "" "v1" "events" "Event" true;
        NAMESPACES "" "v1" "namespaces" "Namespace" false;
        NODES "" "v1" "nodes" "Node" false;
        PERSISTENTVOLUMECLAIMS "" "v1" "persistentvolumeclaims" "PersistentVolumeClaim" true;
        PERSISTENTVOLUMES "" "v1" "persistentvolumes" "PersistentVolume" false;
        PODS "" "v1" "pods" "Pod" true;
        REPLICATIONCONTROLLERS "" "v1" "replicationcontrollers" "ReplicationController" true;
        RESOURCEQUOTAS "" "v1" "resourcequotas" "ResourceQuota" true;
        SECRETS "" "v1" "secrets" "Secret" true;
        SERVICEACCOUNTS "" "v1" "serviceaccounts" "ServiceAccount" true;
        SERVICES "" "v1" "services" "Service" true;
        CONTROLLERREVISIONS "apps" "v1" "controllerrevisions" "ControllerRevision" true;
        DAEMONSETS "apps" "v1" "daemonsets" "DaemonSet" true;
        DEPLOYMENTS "apps" "v1" "deployments" "Deployment" true;
        REPLICASETS "apps" "v1" "replicasets" "ReplicaSet" true;
        STATEFULSETS "apps" "v1" "statefulsets" "StatefulSet" true;
        CRONJOBS "batch" "v1" "cronjobs" "CronJob" true;
        JOBS "batch" "v1" "jobs" "Job" true;
        LEASES "coordination.k8s.io" "v1" "leases" "Lease" true;
        ENDPOINTSLICES "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
        PODDISRUPTIONBUDGETS "policy" "v1" "poddisruptionbudgets" "PodDisruptionBudget" true;
        ROLES "rbac.authorization.k8s.io" "v1" "roles" "Role" true;
        ROLEBINDINGS "rbac.authorization.k8s.io" "v1" "rolebindings" "RoleBinding" true;
        PRIORITYCLASSES "scheduling.k8s.io" "v1" "priorityclasses" "PriorityClass" false;
        STORAGECLASSES "storage.k8s.io" "v1" "storageclasses" "StorageClass" false;
        CSINODES "storage.k8s.io" "v1" "csinodes" "CSINode" false;
    }
}

impl Resource {
    /// A resource found out at run time.
    pub fn new(group: &str, version: &str, plural: &str, kind: &str, namespaced: bool) -> Resource {
        let own = |s: &str| Cow::Owned(s.to_string());
        Resource { group: own(group), version: own(version), plural: own(plural), kind: own(kind), namespaced }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `/apis/<group>/<version>/namespaces/<ns>/<plural>/<name>/<subresource>`.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>, subresource: Option<&str>) -> String {
        let mut out = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|ns| self.namespaced && !ns.is_empty()) {
            out.push_str("/namespaces/");
            percent_encode(&mut out, namespace);
        }
        out.push('/');
        out.push_str(&self.plural);
        for part in [name, subresource].into_iter().flatten() {
            out.push('/');
            percent_encode(&mut out, part);
        }
        out
    }
}
