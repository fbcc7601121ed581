//! The table of commands: names, flags, what they do, and the code that does it. Help texts are derived from it.

use crate::Ctx;
use crate::cmd::{apply, change, delete, describe, exec, get, logs, make, meta, node, rollout};
use crate::core::flags::Takes::{Array, Bool, List, Optional, Text};
use crate::core::flags::{Flag, Given, flag, short, usage};
use crate::failure::Outcome;
use std::future::Future;
use std::pin::Pin;

type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A command.
pub struct Command {
    /// Its names, words separated by one space.
    pub names: &'static [&'static str],
    /// Its flags, in sets that commands share.
    pub flags: &'static [&'static [Flag]],
    /// What it does, in one line.
    pub about: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// Does it with a server.
    pub run: for<'a> fn(&'a Ctx) -> Running<'a>,
    /// Does it without one.
    pub local: Option<fn(&Given) -> Outcome>,
}

/// Flags of every command.
pub const GLOBAL: &[Flag] = &[
    short("namespace", 'n', Text, "", "Namespace of the request"),
    flag("kubeconfig", Text, "", "Path of the kubeconfig file"),
    flag("context", Text, "", "Context of the kubeconfig file"),
    short("server", 's', Text, "", "Address of the API server"),
    flag("token", Text, "", "Bearer token"),
    flag(
        "insecure-skip-tls-verify",
        Bool,
        "",
        "Do not check the server's certificate: anybody in between can read along",
    ),
    flag("as", Text, "", "User to impersonate"),
    flag("as-group", Array, "", "Group to impersonate; may be repeated"),
    flag("as-uid", Text, "", "UID to impersonate"),
    short("v", 'v', Text, "0", "Verbosity; from 6 on requests are shown"),
];

const FILES: &[Flag] = &[
    short("filename", 'f', List, "", "Files or directories with manifests; - is standard input"),
    short("recursive", 'R', Bool, "", "Go into directories below"),
];
const SELECT: &[Flag] = &[
    short("selector", 'l', Text, "", "Only objects with these labels"),
    flag("field-selector", Text, "", "Only objects with these fields"),
];
const ALL: &[Flag] = &[flag("all", Bool, "", "All objects in the namespace")];
const ALL_NAMESPACES: &[Flag] = &[short("all-namespaces", 'A', Bool, "", "In all namespaces")];
const OUTPUT: &[Flag] = &[
    short("output", 'o', Text, "", "json, yaml, name, wide, jsonpath=…, custom-columns=…"),
    flag("show-managed-fields", Bool, "", "Show who manages which fields"),
];
const WRITE: &[Flag] = &[
    flag("dry-run", Optional("unchanged"), "none", "none, client or server"),
    flag("field-manager", Text, "", "Name under which the fields are managed"),
];
const VALIDATE: &[Flag] =
    &[flag("validate", Optional("strict"), "strict", "strict, warn or ignore unknown and duplicate fields")];
const SAVE: &[Flag] = &[flag("save-config", Bool, "", "Remember the manifest for a later apply")];
const TIMEOUT: &[Flag] = &[flag("timeout", Text, "0s", "How long to wait; 0 is for ever (a week)")];
const CONTAINER: &[Flag] = &[short("container", 'c', Text, "", "Container of the pod")];
const STREAMS: &[Flag] = &[
    short("stdin", 'i', Bool, "", "Pass standard input"),
    short("tty", 't', Bool, "", "With a terminal"),
    short("quiet", 'q', Bool, "", "Only what the command prints"),
];
const IMAGE: &[Flag] = &[flag("image", Array, "", "Container image")];
const DATA: &[Flag] = &[
    flag("from-literal", Array, "", "key=value"),
    flag("from-file", Array, "", "File, key=file, or directory"),
    flag("from-env-file", Array, "", "File with lines key=value"),
];
const SUBRESOURCE: &[Flag] = &[flag("subresource", Text, "", "status, scale, …")];
const SUBJECTS: &[Flag] = &[
    flag("clusterrole", Text, "", "ClusterRole to bind"),
    flag("role", Text, "", "Role to bind"),
    flag("user", List, "", "Users"),
    flag("group", List, "", "Groups"),
    flag("serviceaccount", List, "", "Service accounts, namespace:name"),
];

const GET: &[Flag] = &[
    short("watch", 'w', Bool, "", "Go on showing changes"),
    flag("watch-only", Bool, "", "Show changes only"),
    flag("output-watch-events", Bool, "", "Show what kind of change it was"),
    flag("show-labels", Bool, "", "Show labels"),
    short("label-columns", 'L', List, "", "A column for each of these labels"),
    flag("no-headers", Bool, "", "No line of headers"),
    flag("show-kind", Bool, "", "Show the kind before names"),
    flag("sort-by", Text, "", "JSONPath to sort by"),
    flag("ignore-not-found", Bool, "", "An object that is not there is no error"),
    flag("raw", Text, "", "Path to read from the server as it is"),
];
const APPLY: &[Flag] = &[
    flag("server-side", Bool, "", "Let the server merge"),
    flag("force-conflicts", Bool, "", "Take over fields of other managers"),
    flag("force", Bool, "", "Delete and create what cannot be changed"),
];
const DELETE: &[Flag] = &[
    flag("grace-period", Text, "-1", "Seconds to end in; -1 is the object's own"),
    flag("force", Bool, "", "With grace period 0: do not wait for the node"),
    flag("now", Bool, "", "Grace period 1"),
    flag("wait", Bool, "true", "Wait until it is gone"),
    flag("cascade", Optional("background"), "background", "background, foreground or orphan"),
    flag("ignore-not-found", Bool, "", "An object that is not there is no error"),
];
const LOGS: &[Flag] = &[
    short("follow", 'f', Bool, "", "Go on as it grows"),
    short("previous", 'p', Bool, "", "Of the container before this one"),
    flag("all-containers", Bool, "", "Of all containers"),
    flag("all-pods", Bool, "", "Of all pods of the workload"),
    flag("since", Text, "", "Only newer than this duration"),
    flag("since-time", Text, "", "Only since this time"),
    flag("tail", Text, "-1", "Only so many last lines; -1 is all"),
    flag("timestamps", Bool, "", "With times"),
    flag("limit-bytes", Text, "0", "At most so many bytes"),
    flag("prefix", Bool, "", "With pod and container before each line"),
    flag("max-log-requests", Text, "5", "At most so many at once"),
    flag("ignore-errors", Bool, "", "Go on when one cannot be read"),
    flag("insecure-skip-tls-verify-backend", Bool, "", "Do not check the node's certificate"),
    short("selector", 'l', Text, "", "Of the pods with these labels"),
    short("container", 'c', Text, "", "Container of the pod"),
];
const RUN: &[Flag] = &[
    flag("port", Text, "0", "Port that the container listens on"),
    flag("env", Array, "", "Variable, name=value"),
    short("labels", 'l', Array, "", "Labels"),
    flag("annotations", Array, "", "Annotations"),
    flag("restart", Text, "Always", "Always, OnFailure or Never"),
    flag("command", Bool, "", "The arguments are the command"),
    flag("rm", Bool, "", "Delete the pod at the end"),
    flag("attach", Bool, "", "Attach to the pod"),
    flag("privileged", Bool, "", "Run privileged"),
    flag("leave-stdin-open", Bool, "", "Keep standard input open after the first end"),
    flag("image-pull-policy", Text, "", "Always, IfNotPresent or Never"),
    flag("overrides", Text, "", "JSON merged into the pod"),
    short("container", 'c', Text, "", "Container to attach to"),
];
const EXPOSE: &[Flag] = &[
    flag("port", Text, "0", "Port of the service"),
    flag("target-port", Text, "", "Port in the pods"),
    flag("protocol", Text, "", "TCP, UDP or SCTP"),
    flag("name", Text, "", "Name of the service"),
    flag("type", Text, "", "ClusterIP, NodePort, LoadBalancer"),
    flag("cluster-ip", Text, "", "Cluster address, or None"),
    flag("external-ip", Text, "", "External address"),
    flag("load-balancer-ip", Text, "", "Address of the load balancer"),
    flag("session-affinity", Text, "", "None or ClientIP"),
    short("selector", 'l', Text, "", "Labels of the pods"),
];

const DRAIN: &[Flag] = &[
    flag("ignore-daemonsets", Bool, "", "Leave pods of daemon sets"),
    flag("delete-emptydir-data", Bool, "", "Also pods whose data goes with them"),
    flag("force", Bool, "", "Also pods without a controller"),
    flag("grace-period", Text, "-1", "Seconds to end in; -1 is the pod's own"),
    flag("pod-selector", Text, "", "Only pods with these labels"),
];
const AUTOSCALE: &[Flag] = &[
    flag("min", Text, "-1", "Fewest pods"),
    flag("max", Text, "-1", "Most pods"),
    flag("cpu-percent", Text, "-1", "Wanted share of the requested CPU"),
    flag("cpu", Text, "", "Wanted CPU, as a percentage"),
    flag("name", Text, "", "Name of the autoscaler"),
];

macro_rules! command {
    ($names:expr, $flags:expr, $usage:expr, $about:expr, $run:expr) => {
        Command {
            names: &$names,
            flags: &$flags,
            about: $about,
            usage: $usage,
            run: |ctx| Box::pin($run(ctx)),
            local: None,
        }
    };
}

macro_rules! create {
    ($names:expr, $kind:expr, $usage:expr, $($flags:expr),*) => {
        Command {
            names: &$names,
            flags: &[OUTPUT, WRITE, VALIDATE, SAVE, $($flags),*],
            about: concat!("Create a ", $kind),
            usage: $usage,
            run: |ctx| Box::pin(make::create_kind(ctx, $kind)),
            local: None,
        }
    };
}

macro_rules! config {
    ($what:expr, $usage:expr, $about:expr, $($flags:expr),*) => {
        Command {
            names: &[concat!("config ", $what)],
            flags: &[$($flags),*],
            about: $about,
            usage: $usage,
            run: |_| Box::pin(async { Ok(()) }),
            local: Some(|given| meta::config(given, $what)),
        }
    };
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    command!(
        ["get"],
        [FILES, SELECT, ALL_NAMESPACES, OUTPUT, SUBRESOURCE, GET],
        "(TYPE [NAME] | TYPE/NAME …) [flags]",
        "Show objects",
        get::run
    ),
    command!(
        ["describe"],
        [FILES, SELECT, ALL_NAMESPACES, &[flag("show-events", Bool, "true", "With events")]],
        "(TYPE [NAME | PREFIX] | TYPE/NAME) [flags]",
        "Show an object with what belongs to it",
        describe::run
    ),
    command!(
        ["apply"],
        [FILES, OUTPUT, WRITE, VALIDATE, APPLY],
        "-f FILE [flags]",
        "Make the cluster follow manifests",
        apply::apply
    ),
    command!(
        ["create"],
        [FILES, OUTPUT, WRITE, VALIDATE, SAVE],
        "-f FILE [flags]",
        "Create objects from manifests",
        apply::create_files
    ),
    command!(
        ["replace"],
        [FILES, OUTPUT, WRITE, VALIDATE, &[flag("force", Bool, "", "Delete and create")]],
        "-f FILE [flags]",
        "Replace objects by manifests",
        apply::replace
    ),
    create!(["create namespace", "create ns"], "namespace", "NAME",),
    create!(["create serviceaccount", "create sa"], "serviceaccount", "NAME",),
    create!(
        ["create deployment", "create deploy"],
        "deployment",
        "NAME --image=IMAGE [-- COMMAND …]",
        IMAGE,
        &[
            flag("port", Text, "0", "Port that the container listens on"),
            short("replicas", 'r', Text, "1", "How many pods")
        ]
    ),
    create!(["create configmap", "create cm"], "configmap", "NAME [--from-literal=K=V] [--from-file=[K=]FILE]", DATA),
    create!(
        ["create secret generic"],
        "secret generic",
        "NAME [--from-literal=K=V] [--from-file=[K=]FILE]",
        DATA,
        &[flag("type", Text, "", "Type of the secret")]
    ),
    create!(
        ["create secret tls"],
        "secret tls",
        "NAME --cert=FILE --key=FILE",
        &[flag("cert", Text, "", "Certificate file"), flag("key", Text, "", "Key file")]
    ),
    create!(
        ["create job"],
        "job",
        "NAME --image=IMAGE [--from=cronjob/NAME] [-- COMMAND …]",
        IMAGE,
        &[flag("from", Text, "", "CronJob to take it from"), flag("restart", Text, "", "Never or OnFailure")]
    ),
    create!(
        ["create cronjob", "create cj"],
        "cronjob",
        "NAME --image=IMAGE --schedule='…' [-- COMMAND …]",
        IMAGE,
        &[flag("schedule", Text, "", "When"), flag("restart", Text, "", "Never or OnFailure")]
    ),
    create!(
        ["create role"],
        "role",
        "NAME --verb=VERB --resource=RESOURCE",
        &[
            flag("verb", List, "", "Verbs"),
            flag("resource", List, "", "Resources"),
            flag("resource-name", Array, "", "Names of objects")
        ]
    ),
    create!(
        ["create clusterrole"],
        "clusterrole",
        "NAME --verb=VERB --resource=RESOURCE",
        &[
            flag("verb", List, "", "Verbs"),
            flag("resource", List, "", "Resources"),
            flag("resource-name", Array, "", "Names of objects")
        ]
    ),
    create!(["create rolebinding"], "rolebinding", "NAME --role=ROLE --user=USER", SUBJECTS),
    create!(["create clusterrolebinding"], "clusterrolebinding", "NAME --clusterrole=ROLE --user=USER", SUBJECTS),
    create!(
        ["create service clusterip", "create svc clusterip"],
        "service clusterip",
        "NAME --tcp=PORT[:TARGET]",
        &[flag("tcp", List, "", "Ports"), flag("clusterip", Text, "", "Cluster address, or None")]
    ),
    create!(
        ["create service nodeport", "create svc nodeport"],
        "service nodeport",
        "NAME --tcp=PORT[:TARGET]",
        &[flag("tcp", List, "", "Ports"), flag("node-port", Text, "0", "Port of every node")]
    ),
    create!(
        ["create service loadbalancer", "create svc loadbalancer"],
        "service loadbalancer",
        "NAME --tcp=PORT[:TARGET]",
        &[flag("tcp", List, "", "Ports")]
    ),
    create!(
        ["create service externalname", "create svc externalname"],
        "service externalname",
        "NAME --external-name=NAME",
        &[flag("tcp", List, "", "Ports"), flag("external-name", Text, "", "What it stands for")]
    ),
    create!(
        ["create token"],
        "token",
        "SERVICEACCOUNT",
        &[flag("duration", Text, "", "How long it is valid"), flag("audience", Array, "", "For whom")]
    ),
    command!(
        ["delete"],
        [FILES, SELECT, ALL, ALL_NAMESPACES, OUTPUT, WRITE, DELETE, TIMEOUT],
        "(-f FILE | TYPE [NAME | -l LABELS | --all])",
        "Delete objects",
        delete::run
    ),
    command!(
        ["run"],
        [OUTPUT, WRITE, SAVE, IMAGE, STREAMS, RUN],
        "NAME --image=IMAGE [-- ARGS …]",
        "Run a pod",
        make::run
    ),
    command!(
        ["expose"],
        [FILES, OUTPUT, WRITE, SAVE, EXPOSE],
        "TYPE/NAME --port=PORT",
        "Make a service for a workload",
        make::expose
    ),
    command!(["logs"], [LOGS], "(POD | TYPE/NAME) [-c CONTAINER]", "Show what containers print", logs::run),
    command!(
        ["exec"],
        [CONTAINER, STREAMS],
        "(POD | TYPE/NAME) [-c CONTAINER] -- COMMAND …",
        "Run a command in a container",
        exec::exec
    ),
    command!(
        ["attach"],
        [CONTAINER, STREAMS],
        "(POD | TYPE/NAME) [-c CONTAINER]",
        "Attach to a running container",
        exec::attach
    ),
    command!(
        ["port-forward"],
        [&[flag("address", Text, "localhost", "Addresses to listen on")]],
        "TYPE/NAME [LOCAL:]REMOTE …",
        "Reach a pod's ports from here",
        exec::port_forward
    ),
    command!(
        ["scale"],
        [
            FILES,
            SELECT,
            ALL,
            OUTPUT,
            WRITE,
            &[
                flag("replicas", Text, "-1", "How many"),
                flag("current-replicas", Text, "-1", "Only if there are so many now"),
                flag("resource-version", Text, "", "Only at this version")
            ]
        ],
        "--replicas=N TYPE/NAME …",
        "Set how many pods",
        change::scale
    ),
    command!(
        ["label"],
        [
            FILES,
            SELECT,
            ALL,
            ALL_NAMESPACES,
            OUTPUT,
            WRITE,
            &[
                flag("overwrite", Bool, "", "Change labels that are there"),
                flag("list", Bool, "", "Show the labels"),
                flag("resource-version", Text, "", "Only at this version")
            ]
        ],
        "TYPE NAME KEY=VALUE … KEY- …",
        "Set labels",
        |c| change::label(c, false)
    ),
    command!(
        ["annotate"],
        [
            FILES,
            SELECT,
            ALL,
            ALL_NAMESPACES,
            OUTPUT,
            WRITE,
            &[
                flag("overwrite", Bool, "", "Change annotations that are there"),
                flag("list", Bool, "", "Show the annotations"),
                flag("resource-version", Text, "", "Only at this version")
            ]
        ],
        "TYPE NAME KEY=VALUE … KEY- …",
        "Set annotations",
        |c| change::label(c, true)
    ),
    command!(
        ["patch"],
        [
            FILES,
            OUTPUT,
            WRITE,
            SUBRESOURCE,
            &[
                short("patch", 'p', Text, "", "The patch"),
                flag("patch-file", Text, "", "File with the patch"),
                flag("type", Text, "strategic", "strategic, merge or json")
            ]
        ],
        "TYPE NAME -p PATCH",
        "Change fields of an object",
        change::patch
    ),
    command!(["cordon"], [SELECT, WRITE], "NODE", "Let no new pods onto a node", |c| change::cordon(c, true)),
    command!(["uncordon"], [SELECT, WRITE], "NODE", "Let pods onto a node again", |c| change::cordon(c, false)),
    command!(
        ["taint"],
        [SELECT, ALL, OUTPUT, WRITE, &[flag("overwrite", Bool, "", "Change taints that are there")]],
        "nodes NAME KEY=VALUE:EFFECT … KEY:EFFECT- …",
        "Set taints of nodes",
        node::taint
    ),
    command!(["drain"], [SELECT, WRITE, TIMEOUT, DRAIN], "NODE", "Move all pods off a node", node::drain),
    command!(
        ["set image"],
        [FILES, SELECT, ALL, OUTPUT, WRITE],
        "TYPE/NAME CONTAINER=IMAGE …",
        "Change images of a workload",
        node::set_image
    ),
    command!(
        ["autoscale"],
        [FILES, OUTPUT, WRITE, AUTOSCALE],
        "TYPE/NAME --max=N",
        "Scale a workload by its load",
        node::autoscale
    ),
    command!(
        ["events"],
        [
            ALL_NAMESPACES,
            &[
                flag("for", Text, "", "Only about TYPE/NAME"),
                flag("types", List, "", "Only of these types"),
                flag("no-headers", Bool, "", "No line of headers")
            ]
        ],
        "",
        "Show events",
        node::events
    ),
    command!(["auth whoami"], [], "", "Show who the server thinks you are", node::whoami),
    command!(
        ["wait"],
        [
            FILES,
            SELECT,
            ALL,
            ALL_NAMESPACES,
            &[
                flag("for", Text, "", "delete, create, condition=NAME[=VALUE], jsonpath=PATH[=VALUE]"),
                flag("timeout", Text, "30s", "How long to wait")
            ]
        ],
        "TYPE/NAME --for=…",
        "Wait until objects are as they should be",
        change::wait
    ),
    command!(
        ["rollout status"],
        [
            FILES,
            SELECT,
            TIMEOUT,
            &[short("watch", 'w', Bool, "true", "Until it is done"), flag("revision", Text, "0", "Of this revision")]
        ],
        "TYPE/NAME",
        "Follow a rollout",
        rollout::status
    ),
    command!(
        ["rollout history"],
        [FILES, SELECT, &[flag("revision", Text, "0", "Show this revision")]],
        "TYPE/NAME",
        "Show revisions",
        rollout::history
    ),
    command!(
        ["rollout undo"],
        [FILES, SELECT, &[flag("to-revision", Text, "0", "Back to this one")]],
        "TYPE/NAME",
        "Go back to an earlier revision",
        rollout::undo
    ),
    command!(["rollout restart"], [FILES, SELECT], "TYPE/NAME", "Replace all pods", rollout::restart),
    command!(["rollout pause"], [FILES, SELECT], "TYPE/NAME", "Hold a rollout", |c| rollout::pause(c, true)),
    command!(["rollout resume"], [FILES, SELECT], "TYPE/NAME", "Let a rollout go on", |c| rollout::pause(c, false)),
    command!(
        ["api-resources"],
        [&[
            short("output", 'o', Text, "", "wide or name"),
            flag("namespaced", Bool, "", "Only namespaced ones, or only others"),
            flag("api-group", Text, "", "Only this group"),
            flag("verbs", List, "", "Only with these verbs"),
            flag("categories", List, "", "Only of these categories"),
            flag("no-headers", Bool, "", "No line of headers"),
            flag("sort-by", Text, "", "name or kind")
        ]],
        "",
        "Show which resources there are",
        meta::api_resources
    ),
    command!(
        ["explain"],
        [&[flag("recursive", Bool, "", "With the fields of fields"), flag("api-version", Text, "", "Of this version")]],
        "TYPE[.FIELD …]",
        "Show the fields of a resource",
        meta::explain
    ),
    command!(["api-versions"], [], "", "Show which API versions there are", meta::api_versions),
    command!(
        ["version"],
        [&[short("output", 'o', Text, "", "json or yaml"), flag("client", Bool, "", "Only the client's")]],
        "",
        "Show versions",
        meta::version
    ),
    command!(["cluster-info"], [], "", "Show where the cluster is", meta::cluster_info),
    command!(
        ["auth can-i"],
        [ALL_NAMESPACES, SUBRESOURCE],
        "VERB TYPE[/NAME]",
        "Ask whether something is allowed",
        meta::can_i
    ),
    config!(
        "view",
        "",
        "Show the configuration",
        &[short("output", 'o', Text, "", "yaml or json"), flag("raw", Bool, "", "With secrets")]
    ),
    config!("current-context", "", "Show the current context",),
    config!("get-contexts", "", "Show all contexts", &[short("output", 'o', Text, "", "name")]),
    config!("use-context", "NAME", "Choose a context",),
    config!(
        "set-context",
        "(NAME | --current)",
        "Change a context",
        &[
            flag("current", Bool, "", "The current one"),
            flag("cluster", Text, "", "Its cluster"),
            flag("user", Text, "", "Its user")
        ]
    ),
];

/// Help of one command.
pub fn help(command: &Command, path: &str) -> String {
    let mut flags: Vec<Flag> = command.flags.iter().flat_map(|s| s.iter().copied()).collect();
    flags.sort_by_key(|f| f.name);
    let options = if flags.is_empty() { String::new() } else { format!("Options:\n{}\n", usage(&flags)) };
    format!(
        "{}.\n\n{options}Usage:\n  {path} {} [options]\n\nUse \"kubectl options\" for the flags of every command:\n{}",
        command.about,
        command.usage,
        usage(GLOBAL)
    )
}

/// Help of a group of commands, or of all.
pub fn overview(group: &str) -> String {
    let prefix = if group.is_empty() { String::new() } else { format!("{group} ") };
    let mut rows = Vec::new();
    for command in COMMANDS {
        if let Some(rest) = command.names[0].strip_prefix(&prefix) {
            rows.push(vec![format!("  {rest}"), command.about.to_string()]);
        }
    }
    let head = if group.is_empty() {
        "kubectl controls the cluster manager.".to_string()
    } else {
        format!("Commands of kubectl {group}:")
    };
    format!(
        "{head}\n\nCommands:\n{}\nUse \"kubectl <command> --help\" for more about a command.\n",
        crate::core::table::columns(&rows)
    )
}
