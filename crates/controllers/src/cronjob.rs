//! Shell of CronJobs.

use crate::core::cronjob::{World, plan};
use crate::replicaset::{BY_OWNER, owners_of};
use crate::views::{CronJob, Job};
use client::{At, BoxFuture, Client, Controller, Error, Informer, ObjectKey, Plan, Routes, resources};
use platform::WallTime;
use std::sync::Arc;

/// CronJobs.
pub struct CronJobs {
    pub crons: Informer<CronJob>,
    pub jobs: Informer<Job>,
}

impl Controller for CronJobs {
    const NAME: &'static str = "cronjob-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.crons, |change| vec![change.key()]);
        routes.on(&self.jobs, |change| owners_of(change, "CronJob"));
    }

    fn gather(&self, key: &ObjectKey) -> World {
        let Some(cron) = self.crons.get_key(key) else { return World::default() };
        let jobs = self.jobs.by_index(BY_OWNER, &cron.metadata.uid);
        World { cron: Some(cron), jobs }
    }

    /// An active job that no cache shows is asked for: the caches of jobs and of CronJobs may lag behind each other.
    fn refine<'a>(
        &'a self,
        client: &'a Client,
        key: &'a ObjectKey,
        mut world: World,
    ) -> BoxFuture<'a, Result<World, Error>> {
        Box::pin(async move {
            let Some(cron) = &world.cron else { return Ok(world) };
            for reference in &cron.status.active {
                if world.jobs.iter().any(|j| reference["uid"] == *j.metadata.uid) {
                    continue;
                }
                let name = reference["name"].as_str().unwrap_or_default();
                match client.get::<Job>(At { resource: &resources::JOBS, namespace: &key.namespace, name }).await {
                    Ok(job) if reference["uid"] == *job.metadata.uid => world.jobs.push(Arc::new(job)),
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(world)
        })
    }

    fn plan(&self, _key: &ObjectKey, world: &World, now: WallTime) -> Plan {
        plan(world, now)
    }
}
