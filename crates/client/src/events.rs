//! Events: what a component tells people about an object. Told in the background, never waited for, dropped under pressure.

use crate::client::{At, Client, PatchKind};
use crate::core::correlate::{Correlator, Same, Verdict};
use crate::resource::{Resource, resources};
use crate::view::Meta;
use platform::{Env, WallTime};
use serde_json::json;
use tokio::sync::mpsc;

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regarding {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// A part of the object (`spec.containers{app}`).
    pub field_path: String,
}

impl Regarding {
    /// The object of `resource` with this metadata.
    pub fn of(resource: &Resource, meta: &Meta) -> Regarding {
        Regarding {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: String::new(),
        }
    }
}

/// An event to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// About what.
    pub regarding: Regarding,
    /// A problem rather than news.
    pub warning: bool,
    /// Reason, in one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Tells events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<(Event, WallTime)>, Env);

impl Recorder {
    /// Starts telling events as `component` (on `host`, for components of a node).
    pub fn start(env: &Env, client: &Client, component: &str, host: &str) -> Recorder {
        let (sender, events) = mpsc::channel(env.limits().client.events.max(1));
        let task = Task {
            client: client.clone(),
            component: component.into(),
            host: host.into(),
            correlator: Correlator::default(),
        };
        drop(env.spawn("events", task.run(events))); // detached: it ends with the last recorder
        Recorder(sender, env.clone())
    }

    /// Tells an event.
    pub fn tell(&self, event: Event) {
        let now = self.1.wall();
        if self.0.try_send((event, now)).is_err() {
            tracing::debug!("an event was dropped: too many wait");
        }
    }

    /// Tells news.
    pub fn normal(&self, regarding: Regarding, reason: &str, message: impl Into<String>) {
        self.tell(Event { regarding, warning: false, reason: reason.into(), message: message.into() });
    }

    /// Tells a problem.
    pub fn warning(&self, regarding: Regarding, reason: &str, message: impl Into<String>) {
        self.tell(Event { regarding, warning: true, reason: reason.into(), message: message.into() });
    }
}

struct Task {
    client: Client,
    component: String,
    host: String,
    correlator: Correlator,
}

impl Task {
    async fn run(mut self, mut events: mpsc::Receiver<(Event, WallTime)>) {
        while let Some((event, at)) = events.recv().await {
            self.one(event, at).await;
        }
    }

    async fn one(&mut self, event: Event, at: WallTime) {
        let kind = if event.warning { "Warning" } else { "Normal" };
        let regarding = &event.regarding;
        let same = Same {
            uid: format!("{}/{}{}", regarding.uid, regarding.name, regarding.field_path),
            kind: kind.into(),
            reason: event.reason.clone(),
            message: event.message.clone(),
        };
        let now = at.unix_seconds();
        let namespace = if regarding.namespace.is_empty() { "default" } else { &regarding.namespace };
        let time = api::time::format_seconds(now);
        match self.correlator.judge(&same, now) {
            Verdict::Drop => return,
            Verdict::Again { name, count } => {
                let patch = json!({"count": count, "lastTimestamp": time});
                let target = At { resource: &resources::EVENTS, namespace, name: &name };
                match self.client.patch(target, None, &PatchKind::Merge, &patch).await {
                    Err(error) if error.is_not_found() => self.correlator.forget(&same),
                    Err(error) => return tracing::debug!(%error, "an event was not counted"),
                    Ok(_) => return,
                }
            }
            Verdict::New => {}
        }
        let name = format!("{}.{:x}", regarding.name, at.unix_nanos());
        let mut involved = json!({
            "apiVersion": regarding.api_version, "kind": regarding.kind, "namespace": regarding.namespace,
            "name": regarding.name, "uid": regarding.uid, "resourceVersion": regarding.resource_version,
        });
        if !regarding.field_path.is_empty() {
            involved["fieldPath"] = regarding.field_path.as_str().into();
        }
        let mut object = json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "reason": event.reason, "message": event.message, "type": kind, "count": 1,
            "firstTimestamp": time, "lastTimestamp": time, "source": {"component": self.component},
            "reportingComponent": self.component, "reportingInstance": self.host,
        });
        if !self.host.is_empty() {
            object["source"]["host"] = self.host.as_str().into();
        }
        match self.client.create(&resources::EVENTS, namespace, object).await {
            Ok(_) => self.correlator.made(same, name, now),
            Err(error) => tracing::debug!(%error, "an event was not told"),
        }
    }
}
