//! Removes everything that a cluster made in this network namespace, by the cluster's id alone.

use crate::core::addresses::overlay_name;
use crate::core::nft::Transaction;
use crate::error::Result;
use crate::netlink::{Protocol, Socket};
use crate::{cni, firewall, hosts, links, proxy, sysctl};
use std::path::Path;

/// Deletes the tables, links (routes and neighbours go with them) and firewall rules of the cluster `id`, and puts back
/// the kernel settings that are recorded in `dir` (the CNI plugin's directory). Acts in the calling thread's namespace.
pub fn reset(id: &str, dir: &Path) -> Result<()> {
    cni::check_cluster_id(id)?;
    let netfilter = Socket::open(Protocol::Netfilter)?;
    for table in [proxy::table_name(id), cni::table_name(id), hosts::table_name(id)] {
        let mut tx = Transaction::new(&table, netfilter.next_seq());
        tx.add_table();
        tx.delete_table();
        netfilter.transact("delete a cluster's nftables table", &tx.finish())?;
    }
    firewall::close(&netfilter, id)?;
    let route = Socket::open(Protocol::Route)?;
    let (pods, overlay) = (format!("cv{id}"), overlay_name(id));
    for link in links::list(&route)? {
        if link.name.starts_with(&pods) || link.name == overlay {
            links::delete(&route, &link.name)?;
        }
    }
    sysctl::restore(dir)
}
