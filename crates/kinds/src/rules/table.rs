//! The table of kinds and their rules.

use super::{
    PLAIN, PartRules, Rules, access, autoscaling, batch, cells, core, dynamic, events, flowcontrol, networking, pod,
    pods, policy, registration, service, storage, workloads,
};
use api::format;

/// Kinds whose names can be anything that fits a path.
fn any_name(_: &str) -> Vec<String> {
    Vec::new()
}

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
            validate: pods::validate,
            validate_create: pods::validate_create,
            validate_update: pods::update::pod,
            validate_status: pods::validate_status,
            prepare_status: pod::status_change,
            parts: &[
                PartRules { name: "resize", prepare: pods::update::keep_resources, validate: pods::update::resize },
                PartRules {
                    name: "ephemeralcontainers",
                    prepare: pods::update::keep_ephemeral,
                    validate: pods::update::ephemeral,
                },
            ],
            warnings: pods::warnings::of_pod,
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
            validate: pods::template_object,
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
            prepare_create: service::create,
            prepare_update: service::update,
            validate: service::validate,
            validate_update: service::validate_update,
            validate_status: service::validate_status,
            warnings: service::warnings,
            name: format::is_dns1123_label,
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
            validate: core::namespace,
            parts: &[PartRules { name: "finalize", prepare: core::keep_status, validate: core::finalized }],
            name: format::is_dns1123_label,
            cells: cells::namespace,
            ..PLAIN
        },
    ),
    (
        "",
        "Node",
        Rules {
            defaults: core::node_defaults,
            prepare_create: core::node_create,
            validate: core::node,
            validate_update: core::node_update,
            warnings: core::node_warnings,
            keeps_status: true,
            cells: cells::node,
            ..PLAIN
        },
    ),
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
    (
        "",
        "ComponentStatus",
        Rules { deprecated: "v1 ComponentStatus is deprecated in v1.19+", cells: cells::component_status, ..PLAIN },
    ),
    ("", "ServiceAccount", Rules { cells: cells::service_account, ..PLAIN }),
    (
        "",
        "Endpoints",
        Rules {
            defaults: networking::endpoints_defaults,
            validate: networking::endpoints,
            deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
            cells: cells::endpoints,
            ..PLAIN
        },
    ),
    (
        "",
        "Event",
        Rules {
            validate: events::event,
            validate_update: events::update,
            cells: cells::event,
            name: any_name,
            ..PLAIN
        },
    ),
    (
        "events.k8s.io",
        "Event",
        Rules {
            validate: events::event,
            validate_create: events::strict,
            validate_update: events::update,
            cells: cells::event,
            ..PLAIN
        },
    ),
    (
        "",
        "LimitRange",
        Rules {
            defaults: policy::limit_range_defaults,
            prepare_create: policy::limit_range_create,
            validate: policy::limit_range,
            cells: cells::limit_range,
            ..PLAIN
        },
    ),
    (
        "",
        "ResourceQuota",
        Rules {
            validate: policy::quota,
            validate_update: policy::quota_update,
            validate_status: policy::quota_status,
            cells: cells::resource_quota,
            ..PLAIN
        },
    ),
    (
        "",
        "PersistentVolume",
        Rules {
            defaults: storage::pv_defaults,
            prepare_create: storage::pv_create,
            prepare_status: storage::pv_stamp,
            validate: storage::volume,
            validate_update: storage::volume_update,
            warnings: storage::volume_warnings,
            cells: cells::persistent_volume,
            finalizers: &["kubernetes.io/pv-protection"],
            ..PLAIN
        },
    ),
    (
        "",
        "PersistentVolumeClaim",
        Rules {
            defaults: storage::pvc_defaults,
            prepare_create: storage::pvc_create,
            validate: storage::claim,
            validate_update: storage::claim_update,
            warnings: storage::claim_warnings,
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
            validate_status: workloads::replicas_status,
            warnings: pods::warnings::of_template,
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
            validate_status: workloads::deployment_status,
            warnings: pods::warnings::of_template,
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
            validate_status: workloads::replicas_status,
            warnings: pods::warnings::of_template,
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
            validate_status: workloads::statefulset_status,
            warnings: workloads::statefulset_warnings,
            name: format::is_dns1123_label,
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
            validate_status: workloads::daemonset_status,
            warnings: pods::warnings::of_template,
            validate_update: workloads::selector_immutable,
            cells: cells::daemon_set,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apps",
        "ControllerRevision",
        Rules {
            validate: workloads::revision,
            validate_update: workloads::revision_update,
            cells: cells::controller_revision,
            ..PLAIN
        },
    ),
    (
        "batch",
        "Job",
        Rules {
            defaults: batch::job_defaults,
            prepare_create: batch::job_create,
            validate: batch::job,
            validate_update: batch::job_update,
            warnings: pods::warnings::of_template,
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
            defaults: networking::slice_defaults,
            prepare_create: networking::slice_create,
            validate: networking::slice,
            validate_update: networking::slice_update,
            warnings: networking::slice_warnings,
            cells: cells::endpoint_slice,
            generation: &["endpoints", "ports", "addressType"],
            ..PLAIN
        },
    ),
    (
        "networking.k8s.io",
        "Ingress",
        Rules {
            validate: networking::ingress,
            validate_create: networking::ingress_create,
            warnings: networking::ingress_warnings,
            cells: cells::ingress,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "networking.k8s.io",
        "IngressClass",
        Rules {
            defaults: networking::class_defaults,
            validate: networking::class,
            validate_update: networking::class_update,
            cells: cells::ingress_class,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "networking.k8s.io",
        "NetworkPolicy",
        Rules {
            defaults: networking::policy_defaults,
            validate: networking::policy,
            cells: cells::network_policy,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "networking.k8s.io",
        "ServiceCIDR",
        Rules {
            validate: networking::range,
            validate_update: networking::range_update,
            status_only: true,
            cells: cells::service_cidr,
            ..PLAIN
        },
    ),
    (
        "networking.k8s.io",
        "IPAddress",
        Rules {
            validate: networking::address,
            validate_update: networking::address_update,
            name: format::is_ip,
            cells: cells::ip_address,
            ..PLAIN
        },
    ),
    (
        "policy",
        "PodDisruptionBudget",
        Rules {
            validate: policy::budget,
            validate_status: policy::budget_status,
            cells: cells::pod_disruption_budget,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        Rules { defaults: autoscaling::defaults, validate: autoscaling::validate, cells: cells::hpa, ..PLAIN },
    ),
    (
        "rbac.authorization.k8s.io",
        "Role",
        Rules { validate: access::role, name: format::is_path_segment, cells: cells::role, ..PLAIN },
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRole",
        Rules { validate: access::cluster_role, name: format::is_path_segment, cells: cells::role, ..PLAIN },
    ),
    (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        Rules {
            defaults: access::binding_defaults,
            validate: access::role_binding,
            validate_update: access::role_ref_immutable,
            name: format::is_path_segment,
            cells: cells::role_binding,
            ..PLAIN
        },
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        Rules {
            defaults: access::binding_defaults,
            validate: access::cluster_role_binding,
            validate_update: access::role_ref_immutable,
            name: format::is_path_segment,
            cells: cells::role_binding,
            ..PLAIN
        },
    ),
    (
        "scheduling.k8s.io",
        "PriorityClass",
        Rules {
            defaults: policy::priority_class_defaults,
            validate: policy::priority_class,
            validate_update: policy::priority_class_update,
            cells: cells::priority_class,
            generation: &["value"], // which never changes
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "StorageClass",
        Rules {
            defaults: storage::class_defaults,
            validate: storage::class,
            validate_update: storage::class_update,
            cells: cells::storage_class,
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "CSIStorageCapacity",
        Rules { validate: storage::capacity, validate_update: storage::capacity_update, ..PLAIN },
    ),
    (
        "storage.k8s.io",
        "CSIDriver",
        Rules {
            defaults: storage::driver_defaults,
            validate: storage::driver,
            validate_update: storage::driver_update,
            cells: cells::csi_driver,
            generation: SPEC,
            first_generation: 0,
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "CSINode",
        Rules {
            validate: storage::csi_node,
            validate_update: storage::csi_node_update,
            cells: cells::csi_node,
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "VolumeAttachment",
        Rules {
            validate: storage::attachment,
            validate_update: storage::attachment_update,
            cells: cells::volume_attachment,
            ..PLAIN
        },
    ),
    (
        "storage.k8s.io",
        "VolumeAttributesClass",
        Rules {
            validate: storage::attributes_class,
            validate_update: storage::attributes_class_update,
            finalizers: &["kubernetes.io/vac-protection"],
            cells: cells::volume_attributes_class,
            ..PLAIN
        },
    ),
    ("coordination.k8s.io", "Lease", Rules { validate: policy::lease, cells: cells::lease, ..PLAIN }),
    (
        "node.k8s.io",
        "RuntimeClass",
        Rules {
            validate: policy::runtime_class,
            validate_update: policy::runtime_class_update,
            cells: cells::runtime_class,
            ..PLAIN
        },
    ),
    (
        "certificates.k8s.io",
        "CertificateSigningRequest",
        Rules {
            defaults: access::csr_defaults,
            prepare_update: access::csr_update,
            validate: access::csr,
            validate_status: access::csr_status,
            prepare_status: access::csr_stamp,
            parts: &[PartRules { name: "approval", prepare: access::keep_conditions, validate: access::csr_status }],
            name: any_name,
            cells: cells::csr,
            ..PLAIN
        },
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        Rules {
            defaults: flowcontrol::schema_defaults,
            validate: flowcontrol::schema,
            cells: cells::flow_schema,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        Rules {
            defaults: flowcontrol::level_defaults,
            validate: flowcontrol::level,
            cells: cells::priority_level,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        Rules { defaults: registration::webhooks_defaults, cells: cells::webhooks, generation: &["webhooks"], ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        Rules {
            defaults: registration::mutating_webhooks_defaults,
            cells: cells::webhooks,
            generation: &["webhooks"],
            ..PLAIN
        },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        Rules { defaults: registration::policy_defaults, cells: cells::validating_policy, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        Rules {
            defaults: registration::policy_binding_defaults,
            cells: cells::policy_binding,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        Rules { defaults: registration::policy_defaults, cells: cells::mutating_policy, generation: SPEC, ..PLAIN },
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        Rules {
            defaults: registration::policy_binding_defaults,
            cells: cells::policy_binding,
            generation: SPEC,
            ..PLAIN
        },
    ),
    (
        "apiregistration.k8s.io",
        "APIService",
        Rules { defaults: registration::api_service_defaults, cells: cells::api_service, ..PLAIN },
    ),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        Rules { defaults: registration::crd_defaults, cells: cells::crd, generation: SPEC, ..PLAIN },
    ),
    (
        "resource.k8s.io",
        "ResourceClaim",
        Rules { defaults: dynamic::claim_defaults, cells: cells::resource_claim, ..PLAIN },
    ),
    ("resource.k8s.io", "ResourceClaimTemplate", Rules { defaults: dynamic::template_defaults, ..PLAIN }),
    ("resource.k8s.io", "ResourceSlice", Rules { cells: cells::resource_slice, generation: SPEC, ..PLAIN }),
    ("resource.k8s.io", "DeviceClass", Rules { generation: SPEC, ..PLAIN }),
];
