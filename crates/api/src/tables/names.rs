//! Generated from `facts/types.json` by `cargo xtask codegen`; do not edit.

/// Every field name of the type table, sorted; a [`super::super::Name`] is an index into it.
pub static NAMES: &[&str] = &[
    "$ref",
    "$schema",
    "Allows",
    "JSONSchemas",
    "Port",
    "Property",
    "Schema",
    "acceptedNames",
    "accessModes",
    "acquireTime",
    "action",
    "active",
    "activeDeadlineSeconds",
    "add",
    "additionalItems",
    "additionalPrinterColumns",
    "additionalProperties",
    "address",
    "addressType",
    "addresses",
    "adminAccess",
    "admissionReviewVersions",
    "affinity",
    "aggregationRule",
    "allNodes",
    "allOf",
    "allocatable",
    "allocateLoadBalancerNodePorts",
    "allocatedResourceStatuses",
    "allocatedResources",
    "allocatedResourcesStatus",
    "allocation",
    "allocationMode",
    "allocationMultiplier",
    "allocationTimestamp",
    "allowMultipleAllocations",
    "allowPrivilegeEscalation",
    "allowVolumeExpansion",
    "allowWatchBookmarks",
    "allowed",
    "allowedTopologies",
    "annotations",
    "anyOf",
    "apiGroup",
    "apiGroups",
    "apiVersion",
    "apiVersions",
    "appArmorProfile",
    "appProtocol",
    "applyConfiguration",
    "architecture",
    "args",
    "assigned",
    "attachError",
    "attachRequired",
    "attached",
    "attacher",
    "attachmentMetadata",
    "attributes",
    "audience",
    "audiences",
    "auditAnnotations",
    "authenticated",
    "automountServiceAccountToken",
    "availableReplicas",
    "averageUtilization",
    "averageValue",
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "backend",
    "backoffLimit",
    "backoffLimitPerIndex",
    "beginRefreshAt",
    "behavior",
    "binaryData",
    "bindingConditions",
    "bindingFailureConditions",
    "bindsToNode",
    "blockOwnerDeletion",
    "bool",
    "bools",
    "bootID",
    "borrowingLimitPercent",
    "boundObjectRef",
    "caBundle",
    "cachingMode",
    "capabilities",
    "capacity",
    "capacityKey",
    "categories",
    "causes",
    "cel",
    "cephfs",
    "certificate",
    "certificateChain",
    "certificateChainPath",
    "chapAuthDiscovery",
    "chapAuthSession",
    "cidr",
    "cidrs",
    "cinder",
    "claimName",
    "claimRef",
    "claims",
    "clientCIDR",
    "clientConfig",
    "clientIP",
    "clusterIP",
    "clusterIPs",
    "clusterRoleSelectors",
    "clusterScope",
    "clusterTrustBundle",
    "code",
    "collisionCount",
    "command",
    "completedIndexes",
    "completionMode",
    "completionTime",
    "completions",
    "component",
    "concurrencyPolicy",
    "conditionType",
    "conditions",
    "config",
    "configMap",
    "configMapKeyRef",
    "configMapRef",
    "configSource",
    "constraints",
    "consumedCapacity",
    "consumesCounters",
    "container",
    "containerID",
    "containerName",
    "containerPort",
    "containerResource",
    "containerRuntimeVersion",
    "containerStatuses",
    "containers",
    "continue",
    "controller",
    "controllerExpandSecretRef",
    "controllerPublishSecretRef",
    "conversion",
    "conversionReviewVersions",
    "count",
    "counterSet",
    "counters",
    "creationTimestamp",
    "credentialBundlePath",
    "csi",
    "current",
    "currentCPUUtilizationPercentage",
    "currentHealthy",
    "currentMetrics",
    "currentNumberScheduled",
    "currentReplicas",
    "currentRevision",
    "currentVolumeAttributesClassName",
    "daemonEndpoints",
    "data",
    "dataSource",
    "dataSourceRef",
    "datasetName",
    "datasetUUID",
    "declaredFeatures",
    "default",
    "defaultBackend",
    "defaultMode",
    "defaultRequest",
    "definitions",
    "deleteOptions",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "denied",
    "dependencies",
    "deprecated",
    "deprecatedCount",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "deprecatedSource",
    "deprecatedTopology",
    "deprecationWarning",
    "describedObject",
    "description",
    "desiredHealthy",
    "desiredNumberScheduled",
    "desiredReplicas",
    "detachError",
    "details",
    "device",
    "deviceClassName",
    "devicePath",
    "devices",
    "directory",
    "diskName",
    "diskURI",
    "disruptedPods",
    "disruptionsAllowed",
    "distinctAttribute",
    "distinguisherMethod",
    "divisor",
    "dnsConfig",
    "dnsPolicy",
    "downwardAPI",
    "driver",
    "driverName",
    "drivers",
    "drop",
    "dryRun",
    "effect",
    "egress",
    "emptyDir",
    "enableServiceLinks",
    "endPort",
    "endpoints",
    "endpointsNamespace",
    "enum",
    "env",
    "envFrom",
    "ephemeral",
    "ephemeralContainerStatuses",
    "ephemeralContainers",
    "error",
    "errorCode",
    "evaluationError",
    "eventTime",
    "exactly",
    "example",
    "except",
    "excludeResourceRules",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "exec",
    "exempt",
    "exitCode",
    "exitCodes",
    "expectedPods",
    "expirationSeconds",
    "expirationTimestamp",
    "expression",
    "expressionWarnings",
    "extendedResourceClaimStatus",
    "extendedResourceName",
    "external",
    "externalDocs",
    "externalID",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "extra",
    "failed",
    "failedIndexes",
    "failedJobsHistoryLimit",
    "failurePolicy",
    "failureThreshold",
    "fc",
    "features",
    "field",
    "fieldManager",
    "fieldPath",
    "fieldRef",
    "fieldSelector",
    "fieldValidation",
    "fieldsType",
    "fieldsV1",
    "fileKeyRef",
    "finalizers",
    "finishedAt",
    "firstAvailable",
    "firstTimestamp",
    "flexVolume",
    "flocker",
    "follow",
    "forNodes",
    "forZones",
    "force",
    "format",
    "from",
    "fsGroup",
    "fsGroupChangePolicy",
    "fsGroupPolicy",
    "fsType",
    "fullyLabeledReplicas",
    "gateway",
    "gcePersistentDisk",
    "generateName",
    "generation",
    "gid",
    "gitRepo",
    "globalDefault",
    "glusterfs",
    "gmsaCredentialSpec",
    "gmsaCredentialSpecName",
    "gracePeriodSeconds",
    "group",
    "groupPriorityMinimum",
    "groupVersion",
    "groups",
    "grpc",
    "handSize",
    "handler",
    "hard",
    "hardwareAddress",
    "health",
    "healthCheckNodePort",
    "hints",
    "holderIdentity",
    "host",
    "hostAliases",
    "hostIP",
    "hostIPC",
    "hostIPs",
    "hostNetwork",
    "hostPID",
    "hostPath",
    "hostPort",
    "hostProcess",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "hostnames",
    "hosts",
    "http",
    "httpGet",
    "httpHeaders",
    "id",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "image",
    "imageID",
    "imagePullPolicy",
    "imagePullSecrets",
    "imageRef",
    "images",
    "immutable",
    "incomplete",
    "ingress",
    "ingressClassName",
    "initContainerStatuses",
    "initContainers",
    "initialDelaySeconds",
    "initiatorName",
    "inlineVolumeSpec",
    "insecureSkipTLSVerify",
    "insecureSkipTLSVerifyBackend",
    "int",
    "interfaceName",
    "internalTrafficPolicy",
    "ints",
    "involvedObject",
    "ip",
    "ipBlock",
    "ipFamilies",
    "ipFamilyPolicy",
    "ipMode",
    "ips",
    "iqn",
    "iscsi",
    "iscsiInterface",
    "items",
    "jobTemplate",
    "jsonPatch",
    "jsonPath",
    "kernelVersion",
    "key",
    "keyPath",
    "keyType",
    "keyring",
    "kind",
    "kubeProxyVersion",
    "kubeletConfigKey",
    "kubeletEndpoint",
    "kubeletVersion",
    "labelSelector",
    "labelSelectorPath",
    "labels",
    "lastHeartbeatTime",
    "lastKnownGood",
    "lastObservedTime",
    "lastPhaseTransitionTime",
    "lastProbeTime",
    "lastScaleTime",
    "lastScheduleTime",
    "lastState",
    "lastSuccessfulTime",
    "lastTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "leaseDurationSeconds",
    "leaseTransitions",
    "lendablePercent",
    "level",
    "lifecycle",
    "limit",
    "limitBytes",
    "limitResponse",
    "limited",
    "limits",
    "linux",
    "listKind",
    "livenessProbe",
    "loadBalancer",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "local",
    "localhostProfile",
    "lun",
    "machineID",
    "managedBy",
    "managedFields",
    "manager",
    "manualSelector",
    "matchAttribute",
    "matchConditions",
    "matchConstraints",
    "matchExpressions",
    "matchFields",
    "matchLabelExpressions",
    "matchLabelKeys",
    "matchLabels",
    "matchPolicy",
    "matchResources",
    "matchingPrecedence",
    "max",
    "maxExpirationSeconds",
    "maxFailedIndexes",
    "maxItems",
    "maxLength",
    "maxLimitRequestRatio",
    "maxProperties",
    "maxReplicas",
    "maxSkew",
    "maxSurge",
    "maxUnavailable",
    "maximum",
    "maximumVolumeSize",
    "medium",
    "message",
    "messageExpression",
    "metadata",
    "metric",
    "metrics",
    "min",
    "minAvailable",
    "minDomains",
    "minItems",
    "minLength",
    "minProperties",
    "minReadySeconds",
    "minReplicas",
    "minimum",
    "mismatchLabelKeys",
    "mode",
    "modifyVolumeStatus",
    "monitors",
    "mountOptions",
    "mountPath",
    "mountPropagation",
    "multipleOf",
    "mutations",
    "name",
    "names",
    "nameservers",
    "namespace",
    "namespaceSelector",
    "namespaced",
    "namespaces",
    "networkData",
    "nfs",
    "nodeAffinity",
    "nodeAffinityPolicy",
    "nodeAllocatableResourceClaimStatuses",
    "nodeAllocatableResourceMappings",
    "nodeAllocatableUpdatePeriodSeconds",
    "nodeExpandSecretRef",
    "nodeID",
    "nodeInfo",
    "nodeName",
    "nodePort",
    "nodePublishSecretRef",
    "nodeSelector",
    "nodeSelectorTerms",
    "nodeStageSecretRef",
    "nodeTaintsPolicy",
    "nodeTopology",
    "nodeUID",
    "nominalConcurrencyShares",
    "nominatedNodeName",
    "nonResourceAttributes",
    "nonResourceRules",
    "nonResourceURLs",
    "not",
    "notAfter",
    "notBefore",
    "notReadyAddresses",
    "note",
    "nullable",
    "number",
    "numberAvailable",
    "numberMisscheduled",
    "numberReady",
    "numberUnavailable",
    "object",
    "objectSelector",
    "observedGeneration",
    "oldObject",
    "onExitCodes",
    "onPodConditions",
    "oneOf",
    "opaque",
    "openAPIV3Schema",
    "operatingSystem",
    "operation",
    "operations",
    "operator",
    "optional",
    "optionalOldSelf",
    "options",
    "ordinals",
    "orphanDependents",
    "os",
    "osImage",
    "overhead",
    "ownerReferences",
    "parallelism",
    "paramKind",
    "paramRef",
    "parameterNotFoundAction",
    "parameters",
    "parentRef",
    "partition",
    "patch",
    "patchType",
    "path",
    "pathType",
    "paths",
    "pattern",
    "patternProperties",
    "paused",
    "pdID",
    "pdName",
    "perDeviceNodeSelection",
    "periodSeconds",
    "persistentVolumeClaim",
    "persistentVolumeClaimRetentionPolicy",
    "persistentVolumeName",
    "persistentVolumeReclaimPolicy",
    "phase",
    "photonPersistentDisk",
    "pkixPublicKey",
    "plural",
    "podAffinity",
    "podAffinityTerm",
    "podAntiAffinity",
    "podCIDR",
    "podCIDRs",
    "podCertificate",
    "podFailurePolicy",
    "podFixed",
    "podGroupName",
    "podIP",
    "podIPs",
    "podInfoOnMount",
    "podManagementPolicy",
    "podName",
    "podReplacementPolicy",
    "podSelector",
    "podUID",
    "pods",
    "policies",
    "policyName",
    "policyTypes",
    "pool",
    "port",
    "portals",
    "ports",
    "portworxVolume",
    "postStart",
    "preStop",
    "preconditions",
    "preemptionPolicy",
    "preference",
    "preferredDuringSchedulingIgnoredDuringExecution",
    "preferredHolder",
    "preferredVersion",
    "prefix",
    "preserveUnknownFields",
    "preventPodSchedulingIfMissing",
    "previous",
    "priority",
    "priorityClassName",
    "priorityLevelConfiguration",
    "privileged",
    "procMount",
    "progressDeadlineSeconds",
    "projected",
    "proofOfPossession",
    "propagationPolicy",
    "properties",
    "protectionDomain",
    "protocol",
    "providerID",
    "provisioner",
    "publishNotReadyAddresses",
    "pullPolicy",
    "qosClass",
    "queueLengthLimit",
    "queues",
    "queuing",
    "quobyte",
    "range",
    "rawSelector",
    "rbd",
    "readOnly",
    "readOnlyRootFilesystem",
    "readinessGates",
    "readinessProbe",
    "ready",
    "readyReplicas",
    "reason",
    "reclaimPolicy",
    "recursiveReadOnly",
    "recursiveReadOnlyMounts",
    "reference",
    "regarding",
    "registry",
    "reinvocationPolicy",
    "related",
    "remainingItemCount",
    "renewTime",
    "replicas",
    "reportingComponent",
    "reportingController",
    "reportingInstance",
    "repository",
    "request",
    "requestKind",
    "requestMappings",
    "requestName",
    "requestPolicy",
    "requestResource",
    "requestSubResource",
    "requests",
    "required",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "requirements",
    "requiresRepublish",
    "reservedFor",
    "resize",
    "resizePolicy",
    "resource",
    "resourceAttributes",
    "resourceClaimName",
    "resourceClaimStatuses",
    "resourceClaimTemplateName",
    "resourceClaims",
    "resourceFieldRef",
    "resourceID",
    "resourceName",
    "resourceNames",
    "resourceRules",
    "resourceSliceCount",
    "resourceVersion",
    "resourceVersionMatch",
    "resources",
    "response",
    "restartCount",
    "restartPolicy",
    "restartPolicyRules",
    "results",
    "retryAfterSeconds",
    "revision",
    "revisionHistoryLimit",
    "role",
    "roleRef",
    "rollingUpdate",
    "rule",
    "rules",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "runAsUserName",
    "running",
    "runtimeClassName",
    "runtimeHandlers",
    "scale",
    "scaleDown",
    "scaleIO",
    "scaleTargetRef",
    "scaleUp",
    "schedule",
    "schedulerName",
    "scheduling",
    "schedulingGates",
    "schedulingGroup",
    "schema",
    "scheme",
    "scope",
    "scopeName",
    "scopeSelector",
    "scopes",
    "seLinuxChangePolicy",
    "seLinuxMount",
    "seLinuxOptions",
    "searches",
    "seccompProfile",
    "seconds",
    "secret",
    "secretFile",
    "secretKeyRef",
    "secretName",
    "secretNamespace",
    "secretRef",
    "secrets",
    "securityContext",
    "selectPolicy",
    "selectableFields",
    "selector",
    "selectors",
    "selfLink",
    "sendInitialEvents",
    "series",
    "served",
    "server",
    "serverAddress",
    "serverAddressByClientCIDRs",
    "service",
    "serviceAccount",
    "serviceAccountName",
    "serviceAccountToken",
    "serviceAccountTokenInSecrets",
    "serviceAccountUID",
    "serviceName",
    "serving",
    "sessionAffinity",
    "sessionAffinityConfig",
    "setHostnameAsFQDN",
    "shardInfo",
    "shardSelector",
    "shareID",
    "shareName",
    "shareProcessNamespace",
    "sharedCounters",
    "shortNames",
    "sideEffects",
    "signal",
    "signerName",
    "sinceSeconds",
    "sinceTime",
    "singular",
    "singularName",
    "sizeBytes",
    "sizeLimit",
    "sleep",
    "source",
    "sources",
    "spec",
    "specReplicasPath",
    "sslEnabled",
    "stabilizationWindowSeconds",
    "start",
    "startTime",
    "started",
    "startedAt",
    "startingDeadlineSeconds",
    "startupProbe",
    "state",
    "status",
    "statusReplicasPath",
    "stderr",
    "stdin",
    "stdinOnce",
    "stdout",
    "step",
    "stopSignal",
    "storage",
    "storageCapacity",
    "storageClassName",
    "storageMode",
    "storagePolicyID",
    "storagePolicyName",
    "storagePool",
    "storageVersionHash",
    "storageos",
    "storedVersions",
    "strategy",
    "stream",
    "string",
    "stringData",
    "strings",
    "stubPKCS10Request",
    "subPath",
    "subPathExpr",
    "subResource",
    "subdomain",
    "subjects",
    "subresource",
    "subresources",
    "subsets",
    "succeeded",
    "succeededCount",
    "succeededIndexes",
    "successPolicy",
    "successThreshold",
    "successfulJobsHistoryLimit",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "suspend",
    "swap",
    "sysctls",
    "system",
    "systemUUID",
    "tailLines",
    "taints",
    "target",
    "targetCPUUtilizationPercentage",
    "targetContainerName",
    "targetPort",
    "targetPortal",
    "targetRef",
    "targetVolumeAttributesClassName",
    "targetWWNs",
    "tcpSocket",
    "template",
    "tenant",
    "terminated",
    "terminating",
    "terminatingReplicas",
    "terminationGracePeriodSeconds",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "time",
    "timeAdded",
    "timeZone",
    "timeoutSeconds",
    "timestamp",
    "timestamps",
    "title",
    "tls",
    "to",
    "token",
    "tokenRequests",
    "tolerance",
    "tolerationSeconds",
    "tolerations",
    "topologyKey",
    "topologyKeys",
    "topologySpreadConstraints",
    "trafficDistribution",
    "trustBundle",
    "ttlSecondsAfterFinished",
    "tty",
    "type",
    "typeChecking",
    "uid",
    "unavailableReplicas",
    "uncountedTerminatedPods",
    "unhealthyPodEvictionPolicy",
    "uniqueItems",
    "unschedulable",
    "unverifiedUserAnnotations",
    "updateRevision",
    "updateStrategy",
    "updatedNumberScheduled",
    "updatedReplicas",
    "url",
    "usage",
    "usages",
    "used",
    "user",
    "userAnnotations",
    "userInfo",
    "userNamespaces",
    "username",
    "validRange",
    "validValues",
    "validationActions",
    "validations",
    "value",
    "valueExpression",
    "valueFrom",
    "values",
    "variables",
    "verb",
    "verbs",
    "version",
    "versionPriority",
    "versions",
    "volume",
    "volumeAttributes",
    "volumeAttributesClassName",
    "volumeBindingMode",
    "volumeClaimTemplate",
    "volumeClaimTemplates",
    "volumeDevices",
    "volumeHandle",
    "volumeID",
    "volumeLifecycleModes",
    "volumeMode",
    "volumeMounts",
    "volumeName",
    "volumeNamespace",
    "volumePath",
    "volumeStatus",
    "volumes",
    "volumesAttached",
    "volumesInUse",
    "vsphereVolume",
    "waiting",
    "warning",
    "warnings",
    "watch",
    "webhook",
    "webhooks",
    "weight",
    "whenDeleted",
    "whenScaled",
    "whenUnsatisfiable",
    "window",
    "windowsOptions",
    "workingDir",
    "wwids",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "zone",
];

/// The names as constants.
pub mod f {
    #![allow(non_upper_case_globals)]
    use crate::names::Name;
    pub const _ref: Name = Name(0);
    pub const _schema: Name = Name(1);
    pub const Allows: Name = Name(2);
    pub const JSONSchemas: Name = Name(3);
    pub const Port: Name = Name(4);
    pub const Property: Name = Name(5);
    pub const Schema: Name = Name(6);
    pub const acceptedNames: Name = Name(7);
    pub const accessModes: Name = Name(8);
    pub const acquireTime: Name = Name(9);
    pub const action: Name = Name(10);
    pub const active: Name = Name(11);
    pub const activeDeadlineSeconds: Name = Name(12);
    pub const add: Name = Name(13);
    pub const additionalItems: Name = Name(14);
    pub const additionalPrinterColumns: Name = Name(15);
    pub const additionalProperties: Name = Name(16);
    pub const address: Name = Name(17);
    pub const addressType: Name = Name(18);
    pub const addresses: Name = Name(19);
    pub const adminAccess: Name = Name(20);
    pub const admissionReviewVersions: Name = Name(21);
    pub const affinity: Name = Name(22);
    pub const aggregationRule: Name = Name(23);
    pub const allNodes: Name = Name(24);
    pub const allOf: Name = Name(25);
    pub const allocatable: Name = Name(26);
    pub const allocateLoadBalancerNodePorts: Name = Name(27);
    pub const allocatedResourceStatuses: Name = Name(28);
    pub const allocatedResources: Name = Name(29);
    pub const allocatedResourcesStatus: Name = Name(30);
    pub const allocation: Name = Name(31);
    pub const allocationMode: Name = Name(32);
    pub const allocationMultiplier: Name = Name(33);
    pub const allocationTimestamp: Name = Name(34);
    pub const allowMultipleAllocations: Name = Name(35);
    pub const allowPrivilegeEscalation: Name = Name(36);
    pub const allowVolumeExpansion: Name = Name(37);
    pub const allowWatchBookmarks: Name = Name(38);
    pub const allowed: Name = Name(39);
    pub const allowedTopologies: Name = Name(40);
    pub const annotations: Name = Name(41);
    pub const anyOf: Name = Name(42);
    pub const apiGroup: Name = Name(43);
    pub const apiGroups: Name = Name(44);
    pub const apiVersion: Name = Name(45);
    pub const apiVersions: Name = Name(46);
    pub const appArmorProfile: Name = Name(47);
    pub const appProtocol: Name = Name(48);
    pub const applyConfiguration: Name = Name(49);
    pub const architecture: Name = Name(50);
    pub const args: Name = Name(51);
    pub const assigned: Name = Name(52);
    pub const attachError: Name = Name(53);
    pub const attachRequired: Name = Name(54);
    pub const attached: Name = Name(55);
    pub const attacher: Name = Name(56);
    pub const attachmentMetadata: Name = Name(57);
    pub const attributes: Name = Name(58);
    pub const audience: Name = Name(59);
    pub const audiences: Name = Name(60);
    pub const auditAnnotations: Name = Name(61);
    pub const authenticated: Name = Name(62);
    pub const automountServiceAccountToken: Name = Name(63);
    pub const availableReplicas: Name = Name(64);
    pub const averageUtilization: Name = Name(65);
    pub const averageValue: Name = Name(66);
    pub const awsElasticBlockStore: Name = Name(67);
    pub const azureDisk: Name = Name(68);
    pub const azureFile: Name = Name(69);
    pub const backend: Name = Name(70);
    pub const backoffLimit: Name = Name(71);
    pub const backoffLimitPerIndex: Name = Name(72);
    pub const beginRefreshAt: Name = Name(73);
    pub const behavior: Name = Name(74);
    pub const binaryData: Name = Name(75);
    pub const bindingConditions: Name = Name(76);
    pub const bindingFailureConditions: Name = Name(77);
    pub const bindsToNode: Name = Name(78);
    pub const blockOwnerDeletion: Name = Name(79);
    pub const bool: Name = Name(80);
    pub const bools: Name = Name(81);
    pub const bootID: Name = Name(82);
    pub const borrowingLimitPercent: Name = Name(83);
    pub const boundObjectRef: Name = Name(84);
    pub const caBundle: Name = Name(85);
    pub const cachingMode: Name = Name(86);
    pub const capabilities: Name = Name(87);
    pub const capacity: Name = Name(88);
    pub const capacityKey: Name = Name(89);
    pub const categories: Name = Name(90);
    pub const causes: Name = Name(91);
    pub const cel: Name = Name(92);
    pub const cephfs: Name = Name(93);
    pub const certificate: Name = Name(94);
    pub const certificateChain: Name = Name(95);
    pub const certificateChainPath: Name = Name(96);
    pub const chapAuthDiscovery: Name = Name(97);
    pub const chapAuthSession: Name = Name(98);
    pub const cidr: Name = Name(99);
    pub const cidrs: Name = Name(100);
    pub const cinder: Name = Name(101);
    pub const claimName: Name = Name(102);
    pub const claimRef: Name = Name(103);
    pub const claims: Name = Name(104);
    pub const clientCIDR: Name = Name(105);
    pub const clientConfig: Name = Name(106);
    pub const clientIP: Name = Name(107);
    pub const clusterIP: Name = Name(108);
    pub const clusterIPs: Name = Name(109);
    pub const clusterRoleSelectors: Name = Name(110);
    pub const clusterScope: Name = Name(111);
    pub const clusterTrustBundle: Name = Name(112);
    pub const code: Name = Name(113);
    pub const collisionCount: Name = Name(114);
    pub const command: Name = Name(115);
    pub const completedIndexes: Name = Name(116);
    pub const completionMode: Name = Name(117);
    pub const completionTime: Name = Name(118);
    pub const completions: Name = Name(119);
    pub const component: Name = Name(120);
    pub const concurrencyPolicy: Name = Name(121);
    pub const conditionType: Name = Name(122);
    pub const conditions: Name = Name(123);
    pub const config: Name = Name(124);
    pub const configMap: Name = Name(125);
    pub const configMapKeyRef: Name = Name(126);
    pub const configMapRef: Name = Name(127);
    pub const configSource: Name = Name(128);
    pub const constraints: Name = Name(129);
    pub const consumedCapacity: Name = Name(130);
    pub const consumesCounters: Name = Name(131);
    pub const container: Name = Name(132);
    pub const containerID: Name = Name(133);
    pub const containerName: Name = Name(134);
    pub const containerPort: Name = Name(135);
    pub const containerResource: Name = Name(136);
    pub const containerRuntimeVersion: Name = Name(137);
    pub const containerStatuses: Name = Name(138);
    pub const containers: Name = Name(139);
    pub const continue_: Name = Name(140);
    pub const controller: Name = Name(141);
    pub const controllerExpandSecretRef: Name = Name(142);
    pub const controllerPublishSecretRef: Name = Name(143);
    pub const conversion: Name = Name(144);
    pub const conversionReviewVersions: Name = Name(145);
    pub const count: Name = Name(146);
    pub const counterSet: Name = Name(147);
    pub const counters: Name = Name(148);
    pub const creationTimestamp: Name = Name(149);
    pub const credentialBundlePath: Name = Name(150);
    pub const csi: Name = Name(151);
    pub const current: Name = Name(152);
    pub const currentCPUUtilizationPercentage: Name = Name(153);
    pub const currentHealthy: Name = Name(154);
    pub const currentMetrics: Name = Name(155);
    pub const currentNumberScheduled: Name = Name(156);
    pub const currentReplicas: Name = Name(157);
    pub const currentRevision: Name = Name(158);
    pub const currentVolumeAttributesClassName: Name = Name(159);
    pub const daemonEndpoints: Name = Name(160);
    pub const data: Name = Name(161);
    pub const dataSource: Name = Name(162);
    pub const dataSourceRef: Name = Name(163);
    pub const datasetName: Name = Name(164);
    pub const datasetUUID: Name = Name(165);
    pub const declaredFeatures: Name = Name(166);
    pub const default_: Name = Name(167);
    pub const defaultBackend: Name = Name(168);
    pub const defaultMode: Name = Name(169);
    pub const defaultRequest: Name = Name(170);
    pub const definitions: Name = Name(171);
    pub const deleteOptions: Name = Name(172);
    pub const deletionGracePeriodSeconds: Name = Name(173);
    pub const deletionTimestamp: Name = Name(174);
    pub const denied: Name = Name(175);
    pub const dependencies: Name = Name(176);
    pub const deprecated: Name = Name(177);
    pub const deprecatedCount: Name = Name(178);
    pub const deprecatedFirstTimestamp: Name = Name(179);
    pub const deprecatedLastTimestamp: Name = Name(180);
    pub const deprecatedSource: Name = Name(181);
    pub const deprecatedTopology: Name = Name(182);
    pub const deprecationWarning: Name = Name(183);
    pub const describedObject: Name = Name(184);
    pub const description: Name = Name(185);
    pub const desiredHealthy: Name = Name(186);
    pub const desiredNumberScheduled: Name = Name(187);
    pub const desiredReplicas: Name = Name(188);
    pub const detachError: Name = Name(189);
    pub const details: Name = Name(190);
    pub const device: Name = Name(191);
    pub const deviceClassName: Name = Name(192);
    pub const devicePath: Name = Name(193);
    pub const devices: Name = Name(194);
    pub const directory: Name = Name(195);
    pub const diskName: Name = Name(196);
    pub const diskURI: Name = Name(197);
    pub const disruptedPods: Name = Name(198);
    pub const disruptionsAllowed: Name = Name(199);
    pub const distinctAttribute: Name = Name(200);
    pub const distinguisherMethod: Name = Name(201);
    pub const divisor: Name = Name(202);
    pub const dnsConfig: Name = Name(203);
    pub const dnsPolicy: Name = Name(204);
    pub const downwardAPI: Name = Name(205);
    pub const driver: Name = Name(206);
    pub const driverName: Name = Name(207);
    pub const drivers: Name = Name(208);
    pub const drop: Name = Name(209);
    pub const dryRun: Name = Name(210);
    pub const effect: Name = Name(211);
    pub const egress: Name = Name(212);
    pub const emptyDir: Name = Name(213);
    pub const enableServiceLinks: Name = Name(214);
    pub const endPort: Name = Name(215);
    pub const endpoints: Name = Name(216);
    pub const endpointsNamespace: Name = Name(217);
    pub const enum_: Name = Name(218);
    pub const env: Name = Name(219);
    pub const envFrom: Name = Name(220);
    pub const ephemeral: Name = Name(221);
    pub const ephemeralContainerStatuses: Name = Name(222);
    pub const ephemeralContainers: Name = Name(223);
    pub const error: Name = Name(224);
    pub const errorCode: Name = Name(225);
    pub const evaluationError: Name = Name(226);
    pub const eventTime: Name = Name(227);
    pub const exactly: Name = Name(228);
    pub const example: Name = Name(229);
    pub const except: Name = Name(230);
    pub const excludeResourceRules: Name = Name(231);
    pub const exclusiveMaximum: Name = Name(232);
    pub const exclusiveMinimum: Name = Name(233);
    pub const exec: Name = Name(234);
    pub const exempt: Name = Name(235);
    pub const exitCode: Name = Name(236);
    pub const exitCodes: Name = Name(237);
    pub const expectedPods: Name = Name(238);
    pub const expirationSeconds: Name = Name(239);
    pub const expirationTimestamp: Name = Name(240);
    pub const expression: Name = Name(241);
    pub const expressionWarnings: Name = Name(242);
    pub const extendedResourceClaimStatus: Name = Name(243);
    pub const extendedResourceName: Name = Name(244);
    pub const external: Name = Name(245);
    pub const externalDocs: Name = Name(246);
    pub const externalID: Name = Name(247);
    pub const externalIPs: Name = Name(248);
    pub const externalName: Name = Name(249);
    pub const externalTrafficPolicy: Name = Name(250);
    pub const extra: Name = Name(251);
    pub const failed: Name = Name(252);
    pub const failedIndexes: Name = Name(253);
    pub const failedJobsHistoryLimit: Name = Name(254);
    pub const failurePolicy: Name = Name(255);
    pub const failureThreshold: Name = Name(256);
    pub const fc: Name = Name(257);
    pub const features: Name = Name(258);
    pub const field: Name = Name(259);
    pub const fieldManager: Name = Name(260);
    pub const fieldPath: Name = Name(261);
    pub const fieldRef: Name = Name(262);
    pub const fieldSelector: Name = Name(263);
    pub const fieldValidation: Name = Name(264);
    pub const fieldsType: Name = Name(265);
    pub const fieldsV1: Name = Name(266);
    pub const fileKeyRef: Name = Name(267);
    pub const finalizers: Name = Name(268);
    pub const finishedAt: Name = Name(269);
    pub const firstAvailable: Name = Name(270);
    pub const firstTimestamp: Name = Name(271);
    pub const flexVolume: Name = Name(272);
    pub const flocker: Name = Name(273);
    pub const follow: Name = Name(274);
    pub const forNodes: Name = Name(275);
    pub const forZones: Name = Name(276);
    pub const force: Name = Name(277);
    pub const format: Name = Name(278);
    pub const from: Name = Name(279);
    pub const fsGroup: Name = Name(280);
    pub const fsGroupChangePolicy: Name = Name(281);
    pub const fsGroupPolicy: Name = Name(282);
    pub const fsType: Name = Name(283);
    pub const fullyLabeledReplicas: Name = Name(284);
    pub const gateway: Name = Name(285);
    pub const gcePersistentDisk: Name = Name(286);
    pub const generateName: Name = Name(287);
    pub const generation: Name = Name(288);
    pub const gid: Name = Name(289);
    pub const gitRepo: Name = Name(290);
    pub const globalDefault: Name = Name(291);
    pub const glusterfs: Name = Name(292);
    pub const gmsaCredentialSpec: Name = Name(293);
    pub const gmsaCredentialSpecName: Name = Name(294);
    pub const gracePeriodSeconds: Name = Name(295);
    pub const group: Name = Name(296);
    pub const groupPriorityMinimum: Name = Name(297);
    pub const groupVersion: Name = Name(298);
    pub const groups: Name = Name(299);
    pub const grpc: Name = Name(300);
    pub const handSize: Name = Name(301);
    pub const handler: Name = Name(302);
    pub const hard: Name = Name(303);
    pub const hardwareAddress: Name = Name(304);
    pub const health: Name = Name(305);
    pub const healthCheckNodePort: Name = Name(306);
    pub const hints: Name = Name(307);
    pub const holderIdentity: Name = Name(308);
    pub const host: Name = Name(309);
    pub const hostAliases: Name = Name(310);
    pub const hostIP: Name = Name(311);
    pub const hostIPC: Name = Name(312);
    pub const hostIPs: Name = Name(313);
    pub const hostNetwork: Name = Name(314);
    pub const hostPID: Name = Name(315);
    pub const hostPath: Name = Name(316);
    pub const hostPort: Name = Name(317);
    pub const hostProcess: Name = Name(318);
    pub const hostUsers: Name = Name(319);
    pub const hostname: Name = Name(320);
    pub const hostnameOverride: Name = Name(321);
    pub const hostnames: Name = Name(322);
    pub const hosts: Name = Name(323);
    pub const http: Name = Name(324);
    pub const httpGet: Name = Name(325);
    pub const httpHeaders: Name = Name(326);
    pub const id: Name = Name(327);
    pub const ignoreStoreReadErrorWithClusterBreakingPotential: Name = Name(328);
    pub const image: Name = Name(329);
    pub const imageID: Name = Name(330);
    pub const imagePullPolicy: Name = Name(331);
    pub const imagePullSecrets: Name = Name(332);
    pub const imageRef: Name = Name(333);
    pub const images: Name = Name(334);
    pub const immutable: Name = Name(335);
    pub const incomplete: Name = Name(336);
    pub const ingress: Name = Name(337);
    pub const ingressClassName: Name = Name(338);
    pub const initContainerStatuses: Name = Name(339);
    pub const initContainers: Name = Name(340);
    pub const initialDelaySeconds: Name = Name(341);
    pub const initiatorName: Name = Name(342);
    pub const inlineVolumeSpec: Name = Name(343);
    pub const insecureSkipTLSVerify: Name = Name(344);
    pub const insecureSkipTLSVerifyBackend: Name = Name(345);
    pub const int: Name = Name(346);
    pub const interfaceName: Name = Name(347);
    pub const internalTrafficPolicy: Name = Name(348);
    pub const ints: Name = Name(349);
    pub const involvedObject: Name = Name(350);
    pub const ip: Name = Name(351);
    pub const ipBlock: Name = Name(352);
    pub const ipFamilies: Name = Name(353);
    pub const ipFamilyPolicy: Name = Name(354);
    pub const ipMode: Name = Name(355);
    pub const ips: Name = Name(356);
    pub const iqn: Name = Name(357);
    pub const iscsi: Name = Name(358);
    pub const iscsiInterface: Name = Name(359);
    pub const items: Name = Name(360);
    pub const jobTemplate: Name = Name(361);
    pub const jsonPatch: Name = Name(362);
    pub const jsonPath: Name = Name(363);
    pub const kernelVersion: Name = Name(364);
    pub const key: Name = Name(365);
    pub const keyPath: Name = Name(366);
    pub const keyType: Name = Name(367);
    pub const keyring: Name = Name(368);
    pub const kind: Name = Name(369);
    pub const kubeProxyVersion: Name = Name(370);
    pub const kubeletConfigKey: Name = Name(371);
    pub const kubeletEndpoint: Name = Name(372);
    pub const kubeletVersion: Name = Name(373);
    pub const labelSelector: Name = Name(374);
    pub const labelSelectorPath: Name = Name(375);
    pub const labels: Name = Name(376);
    pub const lastHeartbeatTime: Name = Name(377);
    pub const lastKnownGood: Name = Name(378);
    pub const lastObservedTime: Name = Name(379);
    pub const lastPhaseTransitionTime: Name = Name(380);
    pub const lastProbeTime: Name = Name(381);
    pub const lastScaleTime: Name = Name(382);
    pub const lastScheduleTime: Name = Name(383);
    pub const lastState: Name = Name(384);
    pub const lastSuccessfulTime: Name = Name(385);
    pub const lastTimestamp: Name = Name(386);
    pub const lastTransitionTime: Name = Name(387);
    pub const lastUpdateTime: Name = Name(388);
    pub const leaseDurationSeconds: Name = Name(389);
    pub const leaseTransitions: Name = Name(390);
    pub const lendablePercent: Name = Name(391);
    pub const level: Name = Name(392);
    pub const lifecycle: Name = Name(393);
    pub const limit: Name = Name(394);
    pub const limitBytes: Name = Name(395);
    pub const limitResponse: Name = Name(396);
    pub const limited: Name = Name(397);
    pub const limits: Name = Name(398);
    pub const linux: Name = Name(399);
    pub const listKind: Name = Name(400);
    pub const livenessProbe: Name = Name(401);
    pub const loadBalancer: Name = Name(402);
    pub const loadBalancerClass: Name = Name(403);
    pub const loadBalancerIP: Name = Name(404);
    pub const loadBalancerSourceRanges: Name = Name(405);
    pub const local: Name = Name(406);
    pub const localhostProfile: Name = Name(407);
    pub const lun: Name = Name(408);
    pub const machineID: Name = Name(409);
    pub const managedBy: Name = Name(410);
    pub const managedFields: Name = Name(411);
    pub const manager: Name = Name(412);
    pub const manualSelector: Name = Name(413);
    pub const matchAttribute: Name = Name(414);
    pub const matchConditions: Name = Name(415);
    pub const matchConstraints: Name = Name(416);
    pub const matchExpressions: Name = Name(417);
    pub const matchFields: Name = Name(418);
    pub const matchLabelExpressions: Name = Name(419);
    pub const matchLabelKeys: Name = Name(420);
    pub const matchLabels: Name = Name(421);
    pub const matchPolicy: Name = Name(422);
    pub const matchResources: Name = Name(423);
    pub const matchingPrecedence: Name = Name(424);
    pub const max: Name = Name(425);
    pub const maxExpirationSeconds: Name = Name(426);
    pub const maxFailedIndexes: Name = Name(427);
    pub const maxItems: Name = Name(428);
    pub const maxLength: Name = Name(429);
    pub const maxLimitRequestRatio: Name = Name(430);
    pub const maxProperties: Name = Name(431);
    pub const maxReplicas: Name = Name(432);
    pub const maxSkew: Name = Name(433);
    pub const maxSurge: Name = Name(434);
    pub const maxUnavailable: Name = Name(435);
    pub const maximum: Name = Name(436);
    pub const maximumVolumeSize: Name = Name(437);
    pub const medium: Name = Name(438);
    pub const message: Name = Name(439);
    pub const messageExpression: Name = Name(440);
    pub const metadata: Name = Name(441);
    pub const metric: Name = Name(442);
    pub const metrics: Name = Name(443);
    pub const min: Name = Name(444);
    pub const minAvailable: Name = Name(445);
    pub const minDomains: Name = Name(446);
    pub const minItems: Name = Name(447);
    pub const minLength: Name = Name(448);
    pub const minProperties: Name = Name(449);
    pub const minReadySeconds: Name = Name(450);
    pub const minReplicas: Name = Name(451);
    pub const minimum: Name = Name(452);
    pub const mismatchLabelKeys: Name = Name(453);
    pub const mode: Name = Name(454);
    pub const modifyVolumeStatus: Name = Name(455);
    pub const monitors: Name = Name(456);
    pub const mountOptions: Name = Name(457);
    pub const mountPath: Name = Name(458);
    pub const mountPropagation: Name = Name(459);
    pub const multipleOf: Name = Name(460);
    pub const mutations: Name = Name(461);
    pub const name: Name = Name(462);
    pub const names: Name = Name(463);
    pub const nameservers: Name = Name(464);
    pub const namespace: Name = Name(465);
    pub const namespaceSelector: Name = Name(466);
    pub const namespaced: Name = Name(467);
    pub const namespaces: Name = Name(468);
    pub const networkData: Name = Name(469);
    pub const nfs: Name = Name(470);
    pub const nodeAffinity: Name = Name(471);
    pub const nodeAffinityPolicy: Name = Name(472);
    pub const nodeAllocatableResourceClaimStatuses: Name = Name(473);
    pub const nodeAllocatableResourceMappings: Name = Name(474);
    pub const nodeAllocatableUpdatePeriodSeconds: Name = Name(475);
    pub const nodeExpandSecretRef: Name = Name(476);
    pub const nodeID: Name = Name(477);
    pub const nodeInfo: Name = Name(478);
    pub const nodeName: Name = Name(479);
    pub const nodePort: Name = Name(480);
    pub const nodePublishSecretRef: Name = Name(481);
    pub const nodeSelector: Name = Name(482);
    pub const nodeSelectorTerms: Name = Name(483);
    pub const nodeStageSecretRef: Name = Name(484);
    pub const nodeTaintsPolicy: Name = Name(485);
    pub const nodeTopology: Name = Name(486);
    pub const nodeUID: Name = Name(487);
    pub const nominalConcurrencyShares: Name = Name(488);
    pub const nominatedNodeName: Name = Name(489);
    pub const nonResourceAttributes: Name = Name(490);
    pub const nonResourceRules: Name = Name(491);
    pub const nonResourceURLs: Name = Name(492);
    pub const not_: Name = Name(493);
    pub const notAfter: Name = Name(494);
    pub const notBefore: Name = Name(495);
    pub const notReadyAddresses: Name = Name(496);
    pub const note: Name = Name(497);
    pub const nullable: Name = Name(498);
    pub const number: Name = Name(499);
    pub const numberAvailable: Name = Name(500);
    pub const numberMisscheduled: Name = Name(501);
    pub const numberReady: Name = Name(502);
    pub const numberUnavailable: Name = Name(503);
    pub const object: Name = Name(504);
    pub const objectSelector: Name = Name(505);
    pub const observedGeneration: Name = Name(506);
    pub const oldObject: Name = Name(507);
    pub const onExitCodes: Name = Name(508);
    pub const onPodConditions: Name = Name(509);
    pub const oneOf: Name = Name(510);
    pub const opaque: Name = Name(511);
    pub const openAPIV3Schema: Name = Name(512);
    pub const operatingSystem: Name = Name(513);
    pub const operation: Name = Name(514);
    pub const operations: Name = Name(515);
    pub const operator: Name = Name(516);
    pub const optional: Name = Name(517);
    pub const optionalOldSelf: Name = Name(518);
    pub const options: Name = Name(519);
    pub const ordinals: Name = Name(520);
    pub const orphanDependents: Name = Name(521);
    pub const os: Name = Name(522);
    pub const osImage: Name = Name(523);
    pub const overhead: Name = Name(524);
    pub const ownerReferences: Name = Name(525);
    pub const parallelism: Name = Name(526);
    pub const paramKind: Name = Name(527);
    pub const paramRef: Name = Name(528);
    pub const parameterNotFoundAction: Name = Name(529);
    pub const parameters: Name = Name(530);
    pub const parentRef: Name = Name(531);
    pub const partition: Name = Name(532);
    pub const patch: Name = Name(533);
    pub const patchType: Name = Name(534);
    pub const path: Name = Name(535);
    pub const pathType: Name = Name(536);
    pub const paths: Name = Name(537);
    pub const pattern: Name = Name(538);
    pub const patternProperties: Name = Name(539);
    pub const paused: Name = Name(540);
    pub const pdID: Name = Name(541);
    pub const pdName: Name = Name(542);
    pub const perDeviceNodeSelection: Name = Name(543);
    pub const periodSeconds: Name = Name(544);
    pub const persistentVolumeClaim: Name = Name(545);
    pub const persistentVolumeClaimRetentionPolicy: Name = Name(546);
    pub const persistentVolumeName: Name = Name(547);
    pub const persistentVolumeReclaimPolicy: Name = Name(548);
    pub const phase: Name = Name(549);
    pub const photonPersistentDisk: Name = Name(550);
    pub const pkixPublicKey: Name = Name(551);
    pub const plural: Name = Name(552);
    pub const podAffinity: Name = Name(553);
    pub const podAffinityTerm: Name = Name(554);
    pub const podAntiAffinity: Name = Name(555);
    pub const podCIDR: Name = Name(556);
    pub const podCIDRs: Name = Name(557);
    pub const podCertificate: Name = Name(558);
    pub const podFailurePolicy: Name = Name(559);
    pub const podFixed: Name = Name(560);
    pub const podGroupName: Name = Name(561);
    pub const podIP: Name = Name(562);
    pub const podIPs: Name = Name(563);
    pub const podInfoOnMount: Name = Name(564);
    pub const podManagementPolicy: Name = Name(565);
    pub const podName: Name = Name(566);
    pub const podReplacementPolicy: Name = Name(567);
    pub const podSelector: Name = Name(568);
    pub const podUID: Name = Name(569);
    pub const pods: Name = Name(570);
    pub const policies: Name = Name(571);
    pub const policyName: Name = Name(572);
    pub const policyTypes: Name = Name(573);
    pub const pool: Name = Name(574);
    pub const port: Name = Name(575);
    pub const portals: Name = Name(576);
    pub const ports: Name = Name(577);
    pub const portworxVolume: Name = Name(578);
    pub const postStart: Name = Name(579);
    pub const preStop: Name = Name(580);
    pub const preconditions: Name = Name(581);
    pub const preemptionPolicy: Name = Name(582);
    pub const preference: Name = Name(583);
    pub const preferredDuringSchedulingIgnoredDuringExecution: Name = Name(584);
    pub const preferredHolder: Name = Name(585);
    pub const preferredVersion: Name = Name(586);
    pub const prefix: Name = Name(587);
    pub const preserveUnknownFields: Name = Name(588);
    pub const preventPodSchedulingIfMissing: Name = Name(589);
    pub const previous: Name = Name(590);
    pub const priority: Name = Name(591);
    pub const priorityClassName: Name = Name(592);
    pub const priorityLevelConfiguration: Name = Name(593);
    pub const privileged: Name = Name(594);
    pub const procMount: Name = Name(595);
    pub const progressDeadlineSeconds: Name = Name(596);
    pub const projected: Name = Name(597);
    pub const proofOfPossession: Name = Name(598);
    pub const propagationPolicy: Name = Name(599);
    pub const properties: Name = Name(600);
    pub const protectionDomain: Name = Name(601);
    pub const protocol: Name = Name(602);
    pub const providerID: Name = Name(603);
    pub const provisioner: Name = Name(604);
    pub const publishNotReadyAddresses: Name = Name(605);
    pub const pullPolicy: Name = Name(606);
    pub const qosClass: Name = Name(607);
    pub const queueLengthLimit: Name = Name(608);
    pub const queues: Name = Name(609);
    pub const queuing: Name = Name(610);
    pub const quobyte: Name = Name(611);
    pub const range: Name = Name(612);
    pub const rawSelector: Name = Name(613);
    pub const rbd: Name = Name(614);
    pub const readOnly: Name = Name(615);
    pub const readOnlyRootFilesystem: Name = Name(616);
    pub const readinessGates: Name = Name(617);
    pub const readinessProbe: Name = Name(618);
    pub const ready: Name = Name(619);
    pub const readyReplicas: Name = Name(620);
    pub const reason: Name = Name(621);
    pub const reclaimPolicy: Name = Name(622);
    pub const recursiveReadOnly: Name = Name(623);
    pub const recursiveReadOnlyMounts: Name = Name(624);
    pub const reference: Name = Name(625);
    pub const regarding: Name = Name(626);
    pub const registry: Name = Name(627);
    pub const reinvocationPolicy: Name = Name(628);
    pub const related: Name = Name(629);
    pub const remainingItemCount: Name = Name(630);
    pub const renewTime: Name = Name(631);
    pub const replicas: Name = Name(632);
    pub const reportingComponent: Name = Name(633);
    pub const reportingController: Name = Name(634);
    pub const reportingInstance: Name = Name(635);
    pub const repository: Name = Name(636);
    pub const request: Name = Name(637);
    pub const requestKind: Name = Name(638);
    pub const requestMappings: Name = Name(639);
    pub const requestName: Name = Name(640);
    pub const requestPolicy: Name = Name(641);
    pub const requestResource: Name = Name(642);
    pub const requestSubResource: Name = Name(643);
    pub const requests: Name = Name(644);
    pub const required: Name = Name(645);
    pub const requiredDuringSchedulingIgnoredDuringExecution: Name = Name(646);
    pub const requirements: Name = Name(647);
    pub const requiresRepublish: Name = Name(648);
    pub const reservedFor: Name = Name(649);
    pub const resize: Name = Name(650);
    pub const resizePolicy: Name = Name(651);
    pub const resource: Name = Name(652);
    pub const resourceAttributes: Name = Name(653);
    pub const resourceClaimName: Name = Name(654);
    pub const resourceClaimStatuses: Name = Name(655);
    pub const resourceClaimTemplateName: Name = Name(656);
    pub const resourceClaims: Name = Name(657);
    pub const resourceFieldRef: Name = Name(658);
    pub const resourceID: Name = Name(659);
    pub const resourceName: Name = Name(660);
    pub const resourceNames: Name = Name(661);
    pub const resourceRules: Name = Name(662);
    pub const resourceSliceCount: Name = Name(663);
    pub const resourceVersion: Name = Name(664);
    pub const resourceVersionMatch: Name = Name(665);
    pub const resources: Name = Name(666);
    pub const response: Name = Name(667);
    pub const restartCount: Name = Name(668);
    pub const restartPolicy: Name = Name(669);
    pub const restartPolicyRules: Name = Name(670);
    pub const results: Name = Name(671);
    pub const retryAfterSeconds: Name = Name(672);
    pub const revision: Name = Name(673);
    pub const revisionHistoryLimit: Name = Name(674);
    pub const role: Name = Name(675);
    pub const roleRef: Name = Name(676);
    pub const rollingUpdate: Name = Name(677);
    pub const rule: Name = Name(678);
    pub const rules: Name = Name(679);
    pub const runAsGroup: Name = Name(680);
    pub const runAsNonRoot: Name = Name(681);
    pub const runAsUser: Name = Name(682);
    pub const runAsUserName: Name = Name(683);
    pub const running: Name = Name(684);
    pub const runtimeClassName: Name = Name(685);
    pub const runtimeHandlers: Name = Name(686);
    pub const scale: Name = Name(687);
    pub const scaleDown: Name = Name(688);
    pub const scaleIO: Name = Name(689);
    pub const scaleTargetRef: Name = Name(690);
    pub const scaleUp: Name = Name(691);
    pub const schedule: Name = Name(692);
    pub const schedulerName: Name = Name(693);
    pub const scheduling: Name = Name(694);
    pub const schedulingGates: Name = Name(695);
    pub const schedulingGroup: Name = Name(696);
    pub const schema: Name = Name(697);
    pub const scheme: Name = Name(698);
    pub const scope: Name = Name(699);
    pub const scopeName: Name = Name(700);
    pub const scopeSelector: Name = Name(701);
    pub const scopes: Name = Name(702);
    pub const seLinuxChangePolicy: Name = Name(703);
    pub const seLinuxMount: Name = Name(704);
    pub const seLinuxOptions: Name = Name(705);
    pub const searches: Name = Name(706);
    pub const seccompProfile: Name = Name(707);
    pub const seconds: Name = Name(708);
    pub const secret: Name = Name(709);
    pub const secretFile: Name = Name(710);
    pub const secretKeyRef: Name = Name(711);
    pub const secretName: Name = Name(712);
    pub const secretNamespace: Name = Name(713);
    pub const secretRef: Name = Name(714);
    pub const secrets: Name = Name(715);
    pub const securityContext: Name = Name(716);
    pub const selectPolicy: Name = Name(717);
    pub const selectableFields: Name = Name(718);
    pub const selector: Name = Name(719);
    pub const selectors: Name = Name(720);
    pub const selfLink: Name = Name(721);
    pub const sendInitialEvents: Name = Name(722);
    pub const series: Name = Name(723);
    pub const served: Name = Name(724);
    pub const server: Name = Name(725);
    pub const serverAddress: Name = Name(726);
    pub const serverAddressByClientCIDRs: Name = Name(727);
    pub const service: Name = Name(728);
    pub const serviceAccount: Name = Name(729);
    pub const serviceAccountName: Name = Name(730);
    pub const serviceAccountToken: Name = Name(731);
    pub const serviceAccountTokenInSecrets: Name = Name(732);
    pub const serviceAccountUID: Name = Name(733);
    pub const serviceName: Name = Name(734);
    pub const serving: Name = Name(735);
    pub const sessionAffinity: Name = Name(736);
    pub const sessionAffinityConfig: Name = Name(737);
    pub const setHostnameAsFQDN: Name = Name(738);
    pub const shardInfo: Name = Name(739);
    pub const shardSelector: Name = Name(740);
    pub const shareID: Name = Name(741);
    pub const shareName: Name = Name(742);
    pub const shareProcessNamespace: Name = Name(743);
    pub const sharedCounters: Name = Name(744);
    pub const shortNames: Name = Name(745);
    pub const sideEffects: Name = Name(746);
    pub const signal: Name = Name(747);
    pub const signerName: Name = Name(748);
    pub const sinceSeconds: Name = Name(749);
    pub const sinceTime: Name = Name(750);
    pub const singular: Name = Name(751);
    pub const singularName: Name = Name(752);
    pub const sizeBytes: Name = Name(753);
    pub const sizeLimit: Name = Name(754);
    pub const sleep: Name = Name(755);
    pub const source: Name = Name(756);
    pub const sources: Name = Name(757);
    pub const spec: Name = Name(758);
    pub const specReplicasPath: Name = Name(759);
    pub const sslEnabled: Name = Name(760);
    pub const stabilizationWindowSeconds: Name = Name(761);
    pub const start: Name = Name(762);
    pub const startTime: Name = Name(763);
    pub const started: Name = Name(764);
    pub const startedAt: Name = Name(765);
    pub const startingDeadlineSeconds: Name = Name(766);
    pub const startupProbe: Name = Name(767);
    pub const state: Name = Name(768);
    pub const status: Name = Name(769);
    pub const statusReplicasPath: Name = Name(770);
    pub const stderr: Name = Name(771);
    pub const stdin: Name = Name(772);
    pub const stdinOnce: Name = Name(773);
    pub const stdout: Name = Name(774);
    pub const step: Name = Name(775);
    pub const stopSignal: Name = Name(776);
    pub const storage: Name = Name(777);
    pub const storageCapacity: Name = Name(778);
    pub const storageClassName: Name = Name(779);
    pub const storageMode: Name = Name(780);
    pub const storagePolicyID: Name = Name(781);
    pub const storagePolicyName: Name = Name(782);
    pub const storagePool: Name = Name(783);
    pub const storageVersionHash: Name = Name(784);
    pub const storageos: Name = Name(785);
    pub const storedVersions: Name = Name(786);
    pub const strategy: Name = Name(787);
    pub const stream: Name = Name(788);
    pub const string: Name = Name(789);
    pub const stringData: Name = Name(790);
    pub const strings: Name = Name(791);
    pub const stubPKCS10Request: Name = Name(792);
    pub const subPath: Name = Name(793);
    pub const subPathExpr: Name = Name(794);
    pub const subResource: Name = Name(795);
    pub const subdomain: Name = Name(796);
    pub const subjects: Name = Name(797);
    pub const subresource: Name = Name(798);
    pub const subresources: Name = Name(799);
    pub const subsets: Name = Name(800);
    pub const succeeded: Name = Name(801);
    pub const succeededCount: Name = Name(802);
    pub const succeededIndexes: Name = Name(803);
    pub const successPolicy: Name = Name(804);
    pub const successThreshold: Name = Name(805);
    pub const successfulJobsHistoryLimit: Name = Name(806);
    pub const supplementalGroups: Name = Name(807);
    pub const supplementalGroupsPolicy: Name = Name(808);
    pub const suspend: Name = Name(809);
    pub const swap: Name = Name(810);
    pub const sysctls: Name = Name(811);
    pub const system: Name = Name(812);
    pub const systemUUID: Name = Name(813);
    pub const tailLines: Name = Name(814);
    pub const taints: Name = Name(815);
    pub const target: Name = Name(816);
    pub const targetCPUUtilizationPercentage: Name = Name(817);
    pub const targetContainerName: Name = Name(818);
    pub const targetPort: Name = Name(819);
    pub const targetPortal: Name = Name(820);
    pub const targetRef: Name = Name(821);
    pub const targetVolumeAttributesClassName: Name = Name(822);
    pub const targetWWNs: Name = Name(823);
    pub const tcpSocket: Name = Name(824);
    pub const template: Name = Name(825);
    pub const tenant: Name = Name(826);
    pub const terminated: Name = Name(827);
    pub const terminating: Name = Name(828);
    pub const terminatingReplicas: Name = Name(829);
    pub const terminationGracePeriodSeconds: Name = Name(830);
    pub const terminationMessagePath: Name = Name(831);
    pub const terminationMessagePolicy: Name = Name(832);
    pub const time: Name = Name(833);
    pub const timeAdded: Name = Name(834);
    pub const timeZone: Name = Name(835);
    pub const timeoutSeconds: Name = Name(836);
    pub const timestamp: Name = Name(837);
    pub const timestamps: Name = Name(838);
    pub const title: Name = Name(839);
    pub const tls: Name = Name(840);
    pub const to: Name = Name(841);
    pub const token: Name = Name(842);
    pub const tokenRequests: Name = Name(843);
    pub const tolerance: Name = Name(844);
    pub const tolerationSeconds: Name = Name(845);
    pub const tolerations: Name = Name(846);
    pub const topologyKey: Name = Name(847);
    pub const topologyKeys: Name = Name(848);
    pub const topologySpreadConstraints: Name = Name(849);
    pub const trafficDistribution: Name = Name(850);
    pub const trustBundle: Name = Name(851);
    pub const ttlSecondsAfterFinished: Name = Name(852);
    pub const tty: Name = Name(853);
    pub const type_: Name = Name(854);
    pub const typeChecking: Name = Name(855);
    pub const uid: Name = Name(856);
    pub const unavailableReplicas: Name = Name(857);
    pub const uncountedTerminatedPods: Name = Name(858);
    pub const unhealthyPodEvictionPolicy: Name = Name(859);
    pub const uniqueItems: Name = Name(860);
    pub const unschedulable: Name = Name(861);
    pub const unverifiedUserAnnotations: Name = Name(862);
    pub const updateRevision: Name = Name(863);
    pub const updateStrategy: Name = Name(864);
    pub const updatedNumberScheduled: Name = Name(865);
    pub const updatedReplicas: Name = Name(866);
    pub const url: Name = Name(867);
    pub const usage: Name = Name(868);
    pub const usages: Name = Name(869);
    pub const used: Name = Name(870);
    pub const user: Name = Name(871);
    pub const userAnnotations: Name = Name(872);
    pub const userInfo: Name = Name(873);
    pub const userNamespaces: Name = Name(874);
    pub const username: Name = Name(875);
    pub const validRange: Name = Name(876);
    pub const validValues: Name = Name(877);
    pub const validationActions: Name = Name(878);
    pub const validations: Name = Name(879);
    pub const value: Name = Name(880);
    pub const valueExpression: Name = Name(881);
    pub const valueFrom: Name = Name(882);
    pub const values: Name = Name(883);
    pub const variables: Name = Name(884);
    pub const verb: Name = Name(885);
    pub const verbs: Name = Name(886);
    pub const version: Name = Name(887);
    pub const versionPriority: Name = Name(888);
    pub const versions: Name = Name(889);
    pub const volume: Name = Name(890);
    pub const volumeAttributes: Name = Name(891);
    pub const volumeAttributesClassName: Name = Name(892);
    pub const volumeBindingMode: Name = Name(893);
    pub const volumeClaimTemplate: Name = Name(894);
    pub const volumeClaimTemplates: Name = Name(895);
    pub const volumeDevices: Name = Name(896);
    pub const volumeHandle: Name = Name(897);
    pub const volumeID: Name = Name(898);
    pub const volumeLifecycleModes: Name = Name(899);
    pub const volumeMode: Name = Name(900);
    pub const volumeMounts: Name = Name(901);
    pub const volumeName: Name = Name(902);
    pub const volumeNamespace: Name = Name(903);
    pub const volumePath: Name = Name(904);
    pub const volumeStatus: Name = Name(905);
    pub const volumes: Name = Name(906);
    pub const volumesAttached: Name = Name(907);
    pub const volumesInUse: Name = Name(908);
    pub const vsphereVolume: Name = Name(909);
    pub const waiting: Name = Name(910);
    pub const warning: Name = Name(911);
    pub const warnings: Name = Name(912);
    pub const watch: Name = Name(913);
    pub const webhook: Name = Name(914);
    pub const webhooks: Name = Name(915);
    pub const weight: Name = Name(916);
    pub const whenDeleted: Name = Name(917);
    pub const whenScaled: Name = Name(918);
    pub const whenUnsatisfiable: Name = Name(919);
    pub const window: Name = Name(920);
    pub const windowsOptions: Name = Name(921);
    pub const workingDir: Name = Name(922);
    pub const wwids: Name = Name(923);
    pub const x_kubernetes_embedded_resource: Name = Name(924);
    pub const x_kubernetes_int_or_string: Name = Name(925);
    pub const x_kubernetes_list_map_keys: Name = Name(926);
    pub const x_kubernetes_list_type: Name = Name(927);
    pub const x_kubernetes_map_type: Name = Name(928);
    pub const x_kubernetes_preserve_unknown_fields: Name = Name(929);
    pub const x_kubernetes_validations: Name = Name(930);
    pub const zone: Name = Name(931);
}
