//! Leader election by a Lease: at most one holder acts, as long as clocks differ by less than the lease's slack.
//! Source of the rules and times: `client-go/tools/leaderelection`.

use crate::client::{At, Client};
use crate::error::Error;
use crate::resource::resources;
use crate::view::Meta;
use platform::time::{Duration, Instant, sleep, timeout};
use platform::{Env, Rng};
use serde::Deserialize;
use serde_json::json;

/// How to elect.
#[derive(Clone, Debug)]
pub struct Election {
    /// Namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who this is.
    pub identity: String,
    /// For how long others respect a holder that is silent.
    pub lease: Duration,
    /// When a holder that cannot renew gives up.
    pub renew: Duration,
    /// Between tries.
    pub retry: Duration,
}

impl Election {
    /// With upstream's times (15 s, 10 s, 2 s) in `kube-system`.
    pub fn new(name: &str, identity: &str) -> Election {
        Election {
            namespace: "kube-system".into(),
            name: name.into(),
            identity: identity.into(),
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct LeaseView {
    metadata: Meta,
    spec: LeaseSpec,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<u64>,
}

/// One candidate.
pub struct Candidate {
    env: Env,
    client: Client,
    election: Election,
    rng: Rng,
    seen: Option<(LeaseView, Instant)>,
}

impl Candidate {
    /// A candidate that does nothing yet.
    pub fn new(env: &Env, client: &Client, election: Election) -> Candidate {
        let rng = env.rng(&election.name);
        Candidate { env: env.clone(), client: client.clone(), election, rng, seen: None }
    }

    /// Waits until this is the leader.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, lease = self.election.name, "the lease was not taken"),
            }
            let jitter = self.election.retry.mul_f64(self.rng.below(120) as f64 / 100.0);
            sleep(self.election.retry + jitter).await;
        }
    }

    /// Renews until that fails for too long: then this is not the leader any more, and must have stopped to act.
    pub async fn hold(&mut self) {
        loop {
            sleep(self.election.retry).await;
            let renewed = timeout(self.election.renew, async {
                loop {
                    match self.attempt().await {
                        Ok(held) => return held,
                        Err(error) => tracing::debug!(%error, lease = self.election.name, "the lease was not renewed"),
                    }
                    sleep(self.election.retry).await;
                }
            });
            if !renewed.await.unwrap_or(false) {
                tracing::warn!(lease = self.election.name, "leadership is lost");
                return;
            }
        }
    }

    /// Gives the lease up, so that another need not wait.
    pub async fn release(&mut self) -> Result<(), Error> {
        let Some((lease, _)) =
            self.seen.clone().filter(|(l, _)| l.spec.holder_identity.as_ref() == Some(&self.election.identity))
        else {
            return Ok(());
        };
        let now = api::time::format_micros(self.env.wall().unix_nanos());
        let spec = json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now,
            "leaseTransitions": lease.spec.lease_transitions.unwrap_or(0),
        });
        self.write(&lease, spec).await
    }

    async fn attempt(&mut self) -> Result<bool, Error> {
        let now = api::time::format_micros(self.env.wall().unix_nanos());
        let at = At { resource: &resources::LEASES, namespace: &self.election.namespace, name: &self.election.name };
        let lease = match self.client.get::<LeaseView>(at).await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => {
                let spec = json!({
                    "holderIdentity": self.election.identity, "leaseDurationSeconds": self.election.lease.as_secs(),
                    "acquireTime": now, "renewTime": now, "leaseTransitions": 0,
                });
                let object = json!({"metadata": {"name": self.election.name, "namespace": self.election.namespace}, "spec": spec});
                let made = self.client.create(&resources::LEASES, &self.election.namespace, object).await?;
                self.seen = Some((crate::decode(&made)?, self.env.now()));
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        // A silent holder is judged by this candidate's own clock, from when it first saw the lease as it is.
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != lease) {
            self.seen = Some((lease.clone(), self.env.now()));
        }
        let holder = lease.spec.holder_identity.clone().unwrap_or_default();
        let mine = holder == self.election.identity;
        let lasts = Duration::from_secs(lease.spec.lease_duration_seconds.unwrap_or(0));
        let fresh = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() < lasts);
        if !holder.is_empty() && !mine && fresh {
            return Ok(false);
        }
        let transitions = lease.spec.lease_transitions.unwrap_or(0) + u64::from(!mine);
        let acquired = if mine { lease.spec.acquire_time.clone().unwrap_or_else(|| now.clone()) } else { now.clone() };
        let spec = json!({
            "holderIdentity": self.election.identity, "leaseDurationSeconds": self.election.lease.as_secs(),
            "acquireTime": acquired, "renewTime": now, "leaseTransitions": transitions,
        });
        self.write(&lease, spec).await.map(|()| true)
    }

    async fn write(&mut self, lease: &LeaseView, spec: serde_json::Value) -> Result<(), Error> {
        let at = At { resource: &resources::LEASES, namespace: &self.election.namespace, name: &self.election.name };
        let metadata = json!({
            "name": self.election.name, "namespace": self.election.namespace, "uid": lease.metadata.uid,
            "resourceVersion": lease.metadata.resource_version,
        });
        let object =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
        let written = self.client.update(at, None, &object).await?;
        self.seen = Some((crate::decode(&written)?, self.env.now()));
        Ok(())
    }
}
