//! The network between components and the API server: delays, losses, repetitions, partitions, and a server that comes and
//! goes. A [`Door`] is one component's transport.

use crate::checks::Checks;
use crate::trace::Trace;
use crate::wire::Wire;
use api::f;
use apiserver::http::local::Local;
use apiserver::{Server, User};
use bytes::Bytes;
use client::{BoxFuture, Error, EventKind, ListPage, ListRequest, Transport, WatchEvent, WatchRequest, WatchStream};
use futures_util::StreamExt;
use platform::time::{Duration, sleep};
use platform::watch;
use platform::{Env, Rng};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How bad the network is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Longest delay of a message.
    pub delay_ms: u64,
    /// Messages lost, in 1000.
    pub lost_permille: u64,
    /// Requests (but not creations) that arrive twice, in 1000.
    pub twice_permille: u64,
    /// Watches that break with an event, in 1000.
    pub broken_permille: u64,
}

/// The client whose permission comes and goes.
pub const GUEST: &str = "guest";

/// A lost message is noticed after this.
const TIMEOUT: Duration = Duration::from_secs(5);

struct Inner {
    server: Option<(Arc<Server>, Env)>,
    rng: Rng,
    faults: Faults,
    cut: BTreeSet<String>,
}

/// The network.
pub struct Net {
    inner: Mutex<Inner>,
    /// Changes when a server comes or goes, or a link is cut: (generation of the server, changes).
    generation: watch::Sender<(u64, u64)>,
    /// What crossed it.
    pub trace: Arc<Trace>,
    /// What is checked.
    pub checks: Arc<Checks>,
}

fn lost(what: &str) -> Error {
    Error::Transport(format!("{what}: no answer"))
}

impl Net {
    /// A network without a server.
    pub fn new(seed: u64, trace: Arc<Trace>, checks: Arc<Checks>) -> Arc<Net> {
        let inner = Inner {
            server: None,
            rng: Rng::from_seed(seed).split("net"),
            faults: Faults::default(),
            cut: BTreeSet::new(),
        };
        Arc::new(Net { inner: Mutex::new(inner), generation: watch::Sender::new((0, 0)), trace, checks })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server is there, or not.
    pub fn set_server(&self, server: Option<(Arc<Server>, Env)>) {
        let up = server.is_some();
        self.inner().server = server;
        self.generation.send_modify(|(generation, changes)| {
            *generation += u64::from(up);
            *changes += 1;
        });
    }

    /// Generation of the server.
    pub fn generation(&self) -> u64 {
        self.generation.borrow().0
    }

    /// Makes the network better or worse.
    pub fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// Cuts or mends a component's link.
    pub fn cut(&self, name: &str, cut: bool) {
        let mut inner = self.inner();
        if cut {
            inner.cut.insert(name.to_string())
        } else {
            inner.cut.remove(name)
        };
        drop(inner);
        self.generation.send_modify(|(_, changes)| *changes += 1);
    }

    fn is_cut(&self, name: &str) -> bool {
        self.inner().cut.contains(name)
    }

    fn chance(&self, of: impl Fn(&Faults) -> u64) -> bool {
        let mut inner = self.inner();
        let permille = of(&inner.faults);
        permille > 0 && inner.rng.below(1000) < permille
    }

    async fn travel(&self) {
        let micros = {
            let mut inner = self.inner();
            let most = inner.faults.delay_ms * 1000;
            200 + inner.rng.below(most + 1)
        };
        sleep(Duration::from_micros(micros)).await;
    }

    /// One way of a message; false if it is lost.
    async fn passes(&self, name: &str) -> bool {
        self.travel().await;
        !self.is_cut(name) && !self.chance(|f| f.lost_permille)
    }
}

type Way = Arc<dyn Transport>;

/// One component's way to the server.
#[derive(Clone)]
pub struct Door {
    net: Arc<Net>,
    name: Arc<str>,
    user: User,
}

impl Door {
    /// For the component `name` (of the machine that partitions cut), as `user`.
    pub fn new(net: &Arc<Net>, name: &str, user: User) -> Door {
        Door { net: net.clone(), name: name.into(), user }
    }

    /// The way into the server that is there: which of the two follows from the seed and the component.
    fn way(&self) -> Option<(Way, Env)> {
        let inner = self.net.inner();
        // A watch over HTTP is authorized when it is opened, as upstream's; only local ones are asked again.
        let over_http = *self.name != *GUEST && inner.rng.split(&self.name).below(2) == 0;
        inner.server.as_ref().map(|(server, env)| {
            let (server, user) = (server.clone(), self.user.clone());
            let way: Way =
                if over_http { Arc::new(Wire::new(server, user)) } else { Arc::new(Local::new(server, user)) };
            (way, env.clone())
        })
    }

    /// Runs `work` as the server's task, over the network.
    async fn ask<T, F, W>(&self, what: &str, repeatable: bool, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        W: Fn(Way) -> F,
    {
        if !self.net.passes(&self.name).await {
            sleep(TIMEOUT).await;
            return Err(lost(what));
        }
        let Some((way, env)) = self.way() else {
            return Err(Error::Transport(format!("{what}: connection refused")));
        };
        let mut result = env.spawn("request", work(way.clone())).await;
        if repeatable && self.net.chance(|f| f.twice_permille) {
            result = env.spawn("request", work(way)).await;
        }
        let Ok(result) = result else { return Err(Error::Transport(format!("{what}: connection reset"))) };
        if !self.net.passes(&self.name).await {
            sleep(TIMEOUT).await;
            return Err(lost(what));
        }
        result
    }

    fn note(&self, line: &str) {
        self.net.trace.note(&format!("{} {line}", self.name));
    }
}

fn summary<T>(result: &Result<T, Error>, ok: impl Fn(&T) -> String) -> String {
    match result {
        Ok(value) => ok(value),
        Err(Error::Status(status)) => format!("refused {} {:?}", status.code, status.reason),
        Err(error) => format!("failed: {error}"),
    }
}

impl Transport for Door {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Error>> {
        Box::pin(async move {
            let what = format!("{} {}", request.method(), request.uri());
            let again = request.method() != http::Method::POST;
            let work = |way: Way| {
                let request = request.clone();
                async move { way.call(request).await }
            };
            let result = self.ask(&what, again, work).await;
            self.note(&format!("{what}: {}", summary(&result, |r| r.status().as_u16().to_string())));
            result
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>> {
        Box::pin(async move {
            let what = format!("LIST {}", request.uri());
            let work = |way: Way| {
                let request = request.clone();
                async move { way.list(request).await }
            };
            let result = self.ask(&what, true, work).await;
            self.note(&format!("{what}: {}", summary(&result, |p| format!("{} at {}", p.items.len(), p.revision))));
            if let Some(page) = result.as_ref().ok().filter(|_| *self.name == *GUEST) {
                self.net.checks.told_guest(page.revision);
            }
            result
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            let what = format!("WATCH {}", request.uri());
            let generation = self.net.generation();
            let work = |way: Way| {
                let request = request.clone();
                async move { way.watch(request).await }
            };
            let result = self.ask(&what, false, work).await;
            self.note(&format!("{what}: {}", summary(&result, |_| "open".into())));
            let inner = result?;
            let node = request.fields.as_deref().and_then(|f| f.strip_prefix("spec.nodeName=")).map(String::from);
            let whole = request.labels.is_none() && (request.fields.is_none() || node.is_some());
            let prefix = kinds::by_path(&request.resource.group, &request.resource.version, &request.resource.plural)
                .map(|r| r.prefix.clone());
            let namespace = request.namespace.clone().unwrap_or_default();
            let id = prefix
                .filter(|_| whole)
                .map(|p| self.net.checks.watch(&p, &namespace, node, request.after, generation));
            let state = Stream {
                door: self.clone(),
                inner,
                changed: self.net.generation.subscribe(),
                generation,
                id,
                request,
                over: false,
            };
            let stream: WatchStream = Box::pin(futures_util::stream::unfold(state, |mut state| async move {
                let event = state.next().await?;
                Some((event, state))
            }));
            Ok(stream)
        })
    }
}

struct Stream {
    door: Door,
    inner: WatchStream,
    changed: watch::Receiver<(u64, u64)>,
    generation: u64,
    id: Option<usize>,
    request: WatchRequest,
    over: bool,
}

impl Stream {
    async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        if self.over {
            return None;
        }
        let broken = |me: &mut Stream, why: &str| {
            me.over = true;
            me.door.note(&format!("WATCH {} broke: {why}", me.request.resource.plural));
            Some(Err(Error::Transport(format!("the watch broke: {why}"))))
        };
        let event = loop {
            // A server that is gone tells nothing more, however much it had to say.
            if self.door.net.generation() != self.generation || self.door.net.inner().server.is_none() {
                return broken(self, "the server is gone");
            }
            if self.door.net.is_cut(&self.door.name) {
                sleep(TIMEOUT).await; // until the keepalive notices
                return broken(self, "no sign of life");
            }
            tokio::select! {
                biased;
                changed = self.changed.changed() => if changed.is_err() { return None },
                event = self.inner.next() => break event?,
            }
        };
        if !self.door.net.passes(&self.door.name).await || self.door.net.chance(|f| f.broken_permille) {
            return broken(self, "an event was lost");
        }
        if self.door.net.generation() != self.generation {
            return broken(self, "the server is gone");
        }
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.over = true;
                return Some(Err(error));
            }
        };
        self.note(&event);
        Some(Ok(event))
    }

    fn note(&self, event: &WatchEvent) {
        let head = api::json::parse_parts(&event.object, &["metadata.name", "metadata.namespace"]).unwrap_or_default();
        let metadata = head.at(f::metadata);
        let (namespace, name) = (metadata.at(f::namespace).str(), metadata.at(f::name).str());
        let plural = &self.request.resource.plural;
        self.door.note(&format!("event {:?} {plural} {namespace}/{name} at {}", event.kind, event.revision));
        if event.kind == EventKind::Error {
            return;
        }
        let bookmark = event.kind == EventKind::Bookmark;
        if !bookmark && *self.door.name == *GUEST {
            self.door.net.checks.told_guest(event.revision);
        }
        if let Some(id) = self.id {
            self.door.net.checks.delivered(id, event.revision, bookmark);
        }
        if !bookmark && self.id.is_some() {
            let key = format!("{plural} {namespace}/{name}");
            self.door.net.checks.object(&key, event.revision, event.kind == EventKind::Deleted, &event.object);
        }
    }
}
