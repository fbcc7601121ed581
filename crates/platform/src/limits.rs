//! Every bound, batch size and timeout of the parts that run in the simulation, as one value.
//!
//! An [`Env`](crate::Env) carries it: production runs with [`Limits::default`], a simulated process with what its seed made
//! of it ([`Limits::shrunk`]), so that rolling, reclaiming, paging, falling behind and giving up happen within minutes.
//! Numbers that are Kubernetes' own rules (a lease's length, a grace period) are not bounds of ours and stand where they apply.

use crate::Rng;
use std::time::Duration;

/// See the file's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The log engine's.
    pub store: StoreLimits,
    /// A resource's cache's.
    pub cache: CacheLimits,
    /// Those of clients: transports, informers, runners, events.
    pub client: ClientLimits,
    /// The API server's.
    pub server: ServerLimits,
    /// The scheduler's.
    pub scheduler: SchedulerLimits,
    /// The kubelet's.
    pub kubelet: KubeletLimits,
    /// Those of a store in etcd.
    pub etcd: EtcdLimits,
}

/// Bounds of the log engine (the engine in memory uses the batch sizes).
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// A segment is closed when it is longer.
    pub segment_bytes: u64,
    /// Commits of one group.
    pub group_commits: usize,
    /// Bytes of one group (at least one commit goes).
    pub group_bytes: usize,
    /// Bytes of all values of a commit.
    pub commit_bytes: usize,
    /// Revisions reserved at once.
    pub reserve: u64,
    /// Longest time cheap commits stay unsynced.
    pub cheap_delay: Duration,
    /// Memory for old versions.
    pub history_bytes: usize,
    /// Changes that are remembered, whatever their age.
    pub history_events: usize,
    /// Length of the log, beyond the live bytes, at which it is rewritten as a snapshot.
    pub log_bytes: u64,
    /// History younger than this is kept in the log, unless the log is longer than `overgrown` times its limit.
    pub history_age: Duration,
    /// See `history_age`.
    pub overgrown: u64,
    /// Bytes of a snapshot written at once.
    pub rewrite_bytes: usize,
    /// Commits waiting for the committer before submitters wait.
    pub queue: usize,
    /// Changes that a watch takes at once.
    pub watch_step: usize,
    /// Keys that expire at once.
    pub expire_step: usize,
    /// Pause before a failed disk is read again: the first one.
    pub reopen_first: Duration,
    /// The longest one.
    pub reopen_most: Duration,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            segment_bytes: 16 << 20,
            group_commits: 1024,
            group_bytes: 4 << 20,
            commit_bytes: 16 << 20,
            reserve: 10_000,
            cheap_delay: Duration::from_secs(1),
            history_bytes: 16 << 20,
            history_events: 100_000,
            log_bytes: 16 << 20,
            history_age: Duration::from_secs(300),
            overgrown: 4,
            rewrite_bytes: 1 << 20,
            queue: 4096,
            watch_step: 512,
            expire_step: 500,
            reopen_first: Duration::from_millis(100),
            reopen_most: Duration::from_secs(30),
        }
    }
}

/// Bounds of one resource's cache, and of the forms kept beside all objects.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Events kept.
    pub events: usize,
    /// Bytes of objects in events kept.
    pub bytes: usize,
    /// Events that a selective subscriber may leave unread before it is cut off.
    pub unread: usize,
    /// Bytes of all forms (protobuf, frames, metadata) that are kept, of all caches together.
    pub form_bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { events: 4096, bytes: 32 << 20, unread: 4096, form_bytes: 8 << 20 }
    }
}

/// Bounds of clients.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Longest time a controller's key is held until the caches have seen its own writes.
    pub hold: Duration,
    /// Pause after a key's first failure; it doubles.
    pub retry_first: Duration,
    /// The longest one.
    pub retry_most: Duration,
    /// Objects of a page when an informer lists.
    pub page: usize,
    /// Pause after an informer's first failure; it doubles.
    pub backoff_first: Duration,
    /// The longest one.
    pub backoff_most: Duration,
    /// Events waiting to be told.
    pub events: usize,
    /// To connect.
    pub connect: Duration,
    /// To be answered.
    pub call: Duration,
    /// Between signs of life on an idle connection.
    pub keepalive_every: Duration,
    /// Without one the connection is given up.
    pub keepalive_timeout: Duration,
    /// Streams on one connection (servers allow 100).
    pub streams: usize,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            hold: Duration::from_secs(30),
            retry_first: Duration::from_millis(5),
            retry_most: Duration::from_secs(300),
            page: 500,
            backoff_first: Duration::from_millis(50),
            backoff_most: Duration::from_secs(10),
            events: 1000,
            connect: Duration::from_secs(10),
            call: Duration::from_secs(60),
            keepalive_every: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(15),
            streams: 90,
        }
    }
}

/// Bounds of the API server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// How long a request waits for a revision that has not come.
    pub patience: Duration,
    /// Between bookmarks.
    pub bookmark_every: Duration,
    /// Pause before an unreadable store is read again.
    pub reload_pause: Duration,
    /// Expired objects go at most this often.
    pub expire_every: Duration,
    /// Revisions of history that the caches are filled with at the start.
    pub history: u64,
    /// To agree on a connection's encryption.
    pub handshake: Duration,
    /// To send a request's head.
    pub head: Duration,
    /// To answer a request that is not a watch or a stream (upstream's `--request-timeout`).
    pub request: Duration,
    /// To wait for a seat: a quarter of `request`, as upstream's queues allow.
    pub seat: Duration,
    /// Requests in line for each seat.
    pub line: usize,
    /// Streams on one connection.
    pub streams: u32,
    /// To connect to what is asked for through the server.
    pub proxy: Duration,
    /// Pause before accepting connections again when there are no descriptors.
    pub accept_pause: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            patience: Duration::from_secs(3),
            bookmark_every: Duration::from_secs(60),
            reload_pause: Duration::from_millis(200),
            expire_every: Duration::from_secs(60),
            history: 2000,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            request: Duration::from_secs(60),
            seat: Duration::from_secs(15),
            line: 10,
            streams: 250,
            proxy: Duration::from_secs(10),
            accept_pause: Duration::from_millis(50),
        }
    }
}

/// Bounds of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerLimits {
    /// Backoff after a pod's first failure; it doubles.
    pub backoff_first: Duration,
    /// The longest one.
    pub backoff_most: Duration,
    /// A pod that waits for longer is tried again, whatever happened.
    pub wait_most: Duration,
}

impl Default for SchedulerLimits {
    fn default() -> SchedulerLimits {
        SchedulerLimits {
            backoff_first: Duration::from_secs(1),
            backoff_most: Duration::from_secs(10),
            wait_most: Duration::from_secs(300),
        }
    }
}

/// Bounds of the kubelet that Kubernetes does not define (its restarts' and pulls' backoff is no setting).
#[derive(Clone, Copy, Debug)]
pub struct KubeletLimits {
    /// How long the server may stay silent at the start, before pods are started from their checkpoints.
    pub silence: Duration,
    /// How long a container's start waits for the list of services.
    pub services: Duration,
    /// Pause after the first failure to register; it doubles.
    pub register_first: Duration,
    /// The longest one.
    pub register_most: Duration,
    /// Between looks at a node that is not ready.
    pub not_ready: Duration,
    /// How long a node that was ready is not told otherwise after a restart.
    pub starting: Duration,
    /// Before something that failed is done again: volumes, sandboxes' ends.
    pub retry: Duration,
    /// Before a container that could not be made is made again.
    pub retry_create: Duration,
    /// Before a pod's status that could not be told is told again.
    pub tell: Duration,
    /// Before a runtime that did not answer is asked again.
    pub runtime: Duration,
    /// Before volumes that could not be brought up to date are tried again.
    pub refresh: Duration,
    /// Pause after the first failure of an object's watch; it doubles.
    pub watch_first: Duration,
    /// The longest one.
    pub watch_most: Duration,
    /// Between looks at the room that images take.
    pub images: Duration,
    /// Pause before accepting connections again when there are no descriptors.
    pub accept_pause: Duration,
}

impl Default for KubeletLimits {
    fn default() -> KubeletLimits {
        KubeletLimits {
            silence: Duration::from_secs(3),
            services: Duration::from_secs(3),
            register_first: Duration::from_millis(100),
            register_most: Duration::from_secs(7),
            not_ready: Duration::from_millis(500),
            starting: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            retry_create: Duration::from_secs(10),
            tell: Duration::from_secs(1),
            runtime: Duration::from_secs(1),
            refresh: Duration::from_secs(30),
            watch_first: Duration::from_millis(200),
            watch_most: Duration::from_secs(30),
            images: Duration::from_secs(300),
            accept_pause: Duration::from_millis(100),
        }
    }
}

/// Bounds of a store in etcd.
#[derive(Clone, Copy, Debug)]
pub struct EtcdLimits {
    /// To connect to a member.
    pub connect: Duration,
    /// To be answered by it.
    pub call: Duration,
    /// Between signs of life on a connection, and how long one may be awaited.
    pub ping: Duration,
    /// How long a revision that was written may take to arrive in the mirror.
    pub arrive: Duration,
    /// Between questions for progress while nothing arrives.
    pub ask: Duration,
    /// Without a sign for so long the mirror watches anew.
    pub silence: Duration,
    /// Pause before a failed watch or read is begun again.
    pub retry: Duration,
    /// Attempts at a transaction whose outcome is not known.
    pub tries: usize,
    /// Changes that a watch takes at once.
    pub watch_step: usize,
    /// Keys that expire at once.
    pub expire_step: usize,
}

impl Default for EtcdLimits {
    fn default() -> EtcdLimits {
        EtcdLimits {
            connect: Duration::from_secs(2),
            call: Duration::from_secs(5),
            ping: Duration::from_secs(2),
            arrive: Duration::from_secs(10),
            ask: Duration::from_secs(1),
            silence: Duration::from_secs(5),
            retry: Duration::from_millis(100),
            tries: 5,
            watch_step: 512,
            expire_step: 500,
        }
    }
}

impl Limits {
    /// What a seed makes of them: small enough that every edge is met within minutes.
    pub fn shrunk(rng: &mut Rng) -> Limits {
        let mut few = |least: u64, most: u64| least + rng.below(most - least + 1);
        let store = StoreLimits {
            segment_bytes: few(20_000, 220_000),
            group_commits: few(1, 50) as usize,
            group_bytes: few(1, 100_000) as usize,
            reserve: few(20, 2000),
            cheap_delay: Duration::from_millis(few(100, 2000)),
            history_bytes: few(0, 200_000) as usize,
            history_events: few(300, 20_000) as usize,
            log_bytes: few(100_000, 1_000_000),
            history_age: Duration::from_secs(few(0, 100)),
            overgrown: few(1, 4),
            rewrite_bytes: few(1, 100_000) as usize,
            queue: few(1, 100) as usize,
            watch_step: few(1, 100) as usize,
            expire_step: few(1, 50) as usize,
            ..StoreLimits::default()
        };
        let cache = CacheLimits {
            events: few(20, 2000) as usize,
            bytes: few(50_000, 2_000_000) as usize,
            unread: few(10, 200) as usize,
            form_bytes: few(0, 100_000) as usize,
        };
        let client = ClientLimits {
            // Shorter than the caches may lag it would allow surplus: not an edge, a wrong setting.
            hold: Duration::from_secs(few(25, 30)),
            retry_most: Duration::from_secs(few(5, 300)),
            page: few(5, 50) as usize,
            events: few(5, 200) as usize,
            ..ClientLimits::default()
        };
        let server = ServerLimits {
            bookmark_every: Duration::from_secs(few(5, 60)),
            expire_every: Duration::from_secs(few(5, 60)),
            history: few(0, 2000),
            ..ServerLimits::default()
        };
        let scheduler = SchedulerLimits { wait_most: Duration::from_secs(few(30, 300)), ..SchedulerLimits::default() };
        let kubelet = KubeletLimits {
            silence: Duration::from_millis(few(500, 5000)),
            services: Duration::from_millis(few(100, 5000)),
            retry: Duration::from_millis(few(200, 4000)),
            retry_create: Duration::from_millis(few(500, 12_000)),
            tell: Duration::from_millis(few(100, 2000)),
            runtime: Duration::from_millis(few(100, 2000)),
            watch_most: Duration::from_secs(few(1, 30)),
            ..KubeletLimits::default()
        };
        Limits { store, cache, client, server, scheduler, kubelet, etcd: EtcdLimits::default() }
    }
}
