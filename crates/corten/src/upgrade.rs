//! `corten upgrade finalize`: from here on there is no way back to the program before this one.
//!
//! A newer program reads and writes the format it finds, so that rolling back is starting the old binary. Raising the format
//! is the user's decision, by the process that has the store open, or here when the cluster is stopped.

use crate::cluster::Cluster;
use crate::control::{self, Answer};
use crate::lifecycle::Place;
use crate::paths::Paths;
use crate::{process, server};
use platform::Env;
use serde::{Deserialize, Serialize};
use store::Store;

/// What the server is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Raise the store's format.
    FinalizeUpgrade,
}

/// The server's answer.
pub async fn answer(store: &dyn Store, request: Request) -> Answer {
    let Request::FinalizeUpgrade = request;
    let (before, _) = store.status().format;
    let now = store.finalize().await?;
    Ok(vec![if before == now {
        format!("The store has format {now} already, the newest that this corten writes: nothing to do.")
    } else {
        format!(
            "The store had format {before} and is written in format {now} from here on; a corten that does not read it is refused."
        )
    }])
}

/// Raises the format of a cluster's store.
pub fn finalize(place: &Place) -> Result<(), String> {
    let paths = Paths::new(&place.data_dir);
    let cluster = Cluster::load(&paths)?
        .ok_or_else(|| format!("there is no cluster in {}: `corten up` makes one", place.data_dir.display()))?;
    let lines = crate::cli::block_on(async {
        if process::running(&paths).is_some() {
            return control::ask(&control::of_server(&cluster.run_dir()), &Request::FinalizeUpgrade).await;
        }
        let store = server::open_log(&Env::system("upgrade"), &paths.store(), &cluster.key_file()).await?;
        let answer = answer(&*store, Request::FinalizeUpgrade).await;
        store.close().await;
        answer
    })?;
    lines.iter().for_each(|line| crate::cli::say!("{line}"));
    Ok(())
}
