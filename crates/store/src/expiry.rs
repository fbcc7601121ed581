//! The task that lets keys expire: waits for the next expiry or for news, never polls.

use crate::contract::Store;
use platform::{Env, time};
use std::sync::Arc;

/// A prefix no key has: its watch says only that the revision moved.
const NO_KEY: &str = "\0";
const PAUSE_AFTER_ERROR: time::Duration = time::Duration::from_secs(1);

/// Deletes expired keys until the store is closed.
pub async fn run_expiry(env: Env, store: Arc<dyn Store>) {
    let mut news = None;
    loop {
        let now = env.wall();
        let next = match store.expire(now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "expired keys could not be deleted");
                time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let watch = match &mut news {
            Some(watch) => watch,
            None => match store.watch(NO_KEY, store.revision()) {
                Ok(watch) => news.insert(watch),
                Err(_) => continue, // the revision moved in between
            },
        };
        let due = async {
            match next {
                Some(at) => time::sleep(at.since(now)).await,
                None => std::future::pending().await,
            }
        };
        let over = tokio::select! {
            biased;
            () = due => false,
            item = watch.next() => item.is_err(),
        };
        if over {
            news = None;
            if store.status().trouble.is_some() {
                time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}
