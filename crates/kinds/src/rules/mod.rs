//! The rules of kinds: a row of functions each, most of them shared.

pub mod batch;
pub mod cells;
pub mod core;
pub mod pod;
pub mod pod_validation;
pub mod service;
pub mod validation;
pub mod workloads;

use api::errors::FieldErrors;
use api::{Value, format};

/// What a kind means.
#[derive(Debug)]
pub struct Rules {
    /// Fills in what the client left out.
    pub defaults: fn(&mut Value),
    /// Last changes before an object is created (status is dropped by the registry already).
    pub prepare_create: fn(&mut Value),
    /// Last changes before an object is replaced: what a client cannot change goes back to the old value.
    pub prepare_update: fn(new: &mut Value, old: &Value),
    /// What is wrong with an object.
    pub validate: fn(&Value, &mut FieldErrors),
    /// What is wrong with a change, besides [`Rules::validate`].
    pub validate_update: fn(new: &Value, old: &Value, &mut FieldErrors),
    /// What is wrong with a name.
    pub name: format::Check,
    /// The cells of a table's row; `now` in seconds since 1970.
    pub cells: fn(&Value, now: i64) -> Vec<Value>,
    /// Members whose change counts as a new generation; empty: the kind has no generation.
    pub generation: &'static [&'static str],
    /// What a client is told although it is accepted.
    pub warnings: fn(&Value) -> Vec<String>,
    /// The finalizers that a new object gets.
    pub finalizers: &'static [&'static str],
}

fn no_change(_: &mut Value) {}
fn no_update(_: &mut Value, _: &Value) {}
fn no_check(_: &Value, _: &mut FieldErrors) {}
fn no_update_check(_: &Value, _: &Value, _: &mut FieldErrors) {}
fn no_warnings(_: &Value) -> Vec<String> {
    Vec::new()
}

/// A kind without rules of its own.
pub const PLAIN: Rules = Rules {
    defaults: no_change,
    prepare_create: no_change,
    prepare_update: no_update,
    validate: no_check,
    validate_update: no_update_check,
    name: format::is_dns1123_subdomain,
    cells: cells::name_and_age,
    generation: &[],
    warnings: no_warnings,
    finalizers: &[],
};

const SPEC: &[&str] = &["spec"];

/// The rules of a kind.
pub fn of(group: &str, _version: &str, kind: &str) -> &'static Rules {
    TABLE.iter().find(|(g, k, _)| *g == group && *k == kind).map_or(&PLAIN, |(_, _, r)| r)
}

type Row = (&'static str, &'static str, Rules);

static TABLE: &[Row] = &[
    (
        "",
        "Pod",
        Rules {
            defaults: pod::defaults,
            prepare_create: pod::prepare_create,
            prepare_update: pod::prepare_update,
            validate: pod_validation::validate,
            validate_update: pod_validation::validate_update,
            cells: cells::pod,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "",
        "PodTemplate",
        Rules {
            defaults: pod::template_object_defaults,
            validate: pod_validation::template_object,
            cells: cells::pod_template,
            generation: &["template"],
            ..PLAIN
        },
    ),
    (
        "",
        "Service",
        Rules {
            defaults: service::defaults,
            validate: service::validate,
            validate_update: service::validate_update,
            name: format::is_dns1035_label,
            cells: cells::service,
            ..PLAIN
        },
    ),
    (
        "",
        "Namespace",
        Rules {
            defaults: core::namespace_defaults,
            prepare_create: core::namespace_create,
            prepare_update: core::namespace_update,
            name: format::is_dns1123_label,
            cells: cells::namespace,
            ..PLAIN
        },
    ),
    ("", "Node", Rules { defaults: core::node_defaults, validate: core::node, cells: cells::node, ..PLAIN }),
    (
        "",
        "ConfigMap",
        Rules { validate: core::config_map, validate_update: core::immutable_data, cells: cells::config_map, ..PLAIN },
    ),
    (
        "",
        "Secret",
        Rules {
            defaults: core::secret_defaults,
            prepare_create: core::secret_string_data,
            prepare_update: core::secret_update,
            validate: core::secret,
            validate_update: core::secret_change,
            cells: cells::secret,
            ..PLAIN
        },
    ),
    ("", "ComponentStatus", Rules { cells: cells::component_status, ..PLAIN }),
    ("", "ServiceAccount", Rules { cells: cells::service_account, ..PLAIN }),
    ("", "Endpoints", Rules { defaults: core::endpoints_defaults, cells: cells::endpoints, ..PLAIN }),
    ("", "Event", Rules { cells: cells::event, name: format::is_dns1123_subdomain, ..PLAIN }),
    ("events.k8s.io", "Event", Rules { cells: cells::event, ..PLAIN }),
    ("", "LimitRange", Rules { defaults: core::limit_range_defaults, cells: cells::limit_range, ..PLAIN }),
    ("", "ResourceQuota", Rules { cells: cells::resource_quota, ..PLAIN }),
    (
        "",
        "PersistentVolume",
        Rules {
            defaults: core::pv_defaults,
            cells: cells::persistent_volume,
            finalizers: &["kubernetes.io/pv-protection"],
            ..PLAIN
        },
    ),
    (
        "",
        "PersistentVolumeClaim",
        Rules {
            defaults: core::pvc_defaults,
            cells: cells::persistent_volume_claim,
            finalizers: &["kubernetes.io/pvc-protection"],
            ..PLAIN
        },
    ),
    (
        "",
        "ReplicationController",
        Rules {
            defaults: workloads::rc_defaults,
            validate: workloads::rc,
            cells: cells::replication_controller,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apps",
        "Deployment",
        Rules {
            defaults: workloads::deployment_defaults,
            validate: workloads::deployment,
            validate_update: workloads::selector_immutable,
            cells: cells::deployment,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apps",
        "ReplicaSet",
        Rules {
            defaults: workloads::replicaset_defaults,
            validate: workloads::replicaset,
            validate_update: workloads::selector_immutable,
            cells: cells::replica_set,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apps",
        "StatefulSet",
        Rules {
            defaults: workloads::statefulset_defaults,
            validate: workloads::statefulset,
            validate_update: workloads::statefulset_update,
            cells: cells::stateful_set,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apps",
        "DaemonSet",
        Rules {
            defaults: workloads::daemonset_defaults,
            prepare_create: workloads::daemonset_create,
            prepare_update: workloads::daemonset_change,
            validate: workloads::daemonset,
            validate_update: workloads::selector_immutable,
            cells: cells::daemon_set,
            generation: SPEC,
            ..PLAIN
        },
    ),
    ("apps", "ControllerRevision", Rules { cells: cells::controller_revision, ..PLAIN }),
    (
        "batch",
        "Job",
        Rules {
            defaults: batch::job_defaults,
            prepare_create: batch::job_create,
            validate: batch::job,
            validate_update: batch::job_update,
            cells: cells::job,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "batch",
        "CronJob",
        Rules {
            defaults: batch::cronjob_defaults,
            validate: batch::cronjob,
            cells: cells::cron_job,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        Rules {
            defaults: core::endpoint_slice_defaults,
            cells: cells::endpoint_slice,
            generation: &["endpoints", "ports", "addressType"],
            ..PLAIN
        },
    ),
    ("networking.k8s.io", "Ingress", Rules { cells: cells::ingress, generation: SPEC, ..PLAIN }),
    ("networking.k8s.io", "IngressClass", Rules { cells: cells::ingress_class, generation: SPEC, ..PLAIN }),
    (
        "networking.k8s.io",
        "NetworkPolicy",
        Rules { defaults: core::network_policy_defaults, cells: cells::network_policy, generation: SPEC, ..PLAIN },
    ),
    ("networking.k8s.io", "ServiceCIDR", Rules { cells: cells::service_cidr, ..PLAIN }),
    ("networking.k8s.io", "IPAddress", Rules { cells: cells::ip_address, ..PLAIN }),
    ("policy", "PodDisruptionBudget", Rules { cells: cells::pod_disruption_budget, generation: SPEC, ..PLAIN }),
    ("autoscaling", "HorizontalPodAutoscaler", Rules { defaults: core::hpa_defaults, cells: cells::hpa, ..PLAIN }),
    ("rbac.authorization.k8s.io", "Role", Rules { name: format::is_path_segment, cells: cells::role, ..PLAIN }),
    ("rbac.authorization.k8s.io", "ClusterRole", Rules { name: format::is_path_segment, cells: cells::role, ..PLAIN }),
    (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        Rules {
            defaults: core::binding_defaults,
            validate: core::role_binding,
            validate_update: core::role_ref_immutable,
            name: format::is_path_segment,
            cells: cells::role_binding,
            ..PLAIN
        },
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        Rules {
            defaults: core::binding_defaults,
            validate: core::cluster_role_binding,
            validate_update: core::role_ref_immutable,
            name: format::is_path_segment,
            cells: cells::role_binding,
            ..PLAIN
        },
    ),
    (
        "scheduling.k8s.io",
        "PriorityClass",
        Rules {
            defaults: core::priority_class_defaults,
            cells: cells::priority_class,
            generation: &["value", "globalDefault", "description", "preemptionPolicy"],
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "StorageClass",
        Rules { defaults: core::storage_class_defaults, cells: cells::storage_class, ..PLAIN },
    ),
    (
        "storage.k8s.io",
        "CSIDriver",
        Rules { defaults: core::csi_driver_defaults, cells: cells::csi_driver, generation: SPEC, ..PLAIN },
    ),
    ("storage.k8s.io", "CSINode", Rules { cells: cells::csi_node, ..PLAIN }),
    ("storage.k8s.io", "VolumeAttachment", Rules { cells: cells::volume_attachment, ..PLAIN }),
    ("storage.k8s.io", "VolumeAttributesClass", Rules { cells: cells::volume_attributes_class, ..PLAIN }),
    ("coordination.k8s.io", "Lease", Rules { cells: cells::lease, ..PLAIN }),
    ("node.k8s.io", "RuntimeClass", Rules { cells: cells::runtime_class, ..PLAIN }),
    (
        "certificates.k8s.io",
        "CertificateSigningRequest",
        Rules { defaults: core::csr_defaults, cells: cells::csr, ..PLAIN },
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        Rules { defaults: core::flow_schema_defaults, cells: cells::flow_schema, generation: SPEC, ..PLAIN },
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        Rules { defaults: core::priority_level_defaults, cells: cells::priority_level, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        Rules { defaults: core::webhooks_defaults, cells: cells::webhooks, generation: &["webhooks"], ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        Rules {
            defaults: core::mutating_webhooks_defaults,
            cells: cells::webhooks,
            generation: &["webhooks"],
            ..PLAIN
        },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        Rules { defaults: core::policy_defaults, cells: cells::validating_policy, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        Rules { defaults: core::policy_binding_defaults, cells: cells::policy_binding, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        Rules { defaults: core::policy_defaults, cells: cells::mutating_policy, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        Rules { defaults: core::policy_binding_defaults, cells: cells::policy_binding, generation: SPEC, ..PLAIN },
    ),
    ("apiregistration.k8s.io", "APIService", Rules { cells: cells::api_service, ..PLAIN }),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        Rules { defaults: core::crd_defaults, cells: cells::crd, generation: SPEC, ..PLAIN },
    ),
    ("resource.k8s.io", "ResourceClaim", Rules { cells: cells::resource_claim, ..PLAIN }),
    ("resource.k8s.io", "ResourceSlice", Rules { cells: cells::resource_slice, generation: SPEC, ..PLAIN }),
    ("resource.k8s.io", "DeviceClass", Rules { generation: SPEC, ..PLAIN }),
];
