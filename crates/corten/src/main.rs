//! The `corten` binary: every role of the cluster under one name.
//!
//! A shim is branched off before anything else exists (it must stay small and single-threaded), then `kubectl` (also when the
//! binary is linked under that name), then the commands of `cli`.

mod accounts;
mod apiserver;
mod cli;
mod cluster;
mod components;
mod config_file;
mod control;
mod daemon;
mod etcd_store;
mod flags;
mod images;
mod kubeconfig;
mod lifecycle;
mod node;
mod paths;
mod pki;
mod preflight;
mod process;
mod roles;
mod server;
mod status;
mod upgrade;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let name = args.first().map(|a| a.rsplit('/').next().unwrap_or(a).to_string()).unwrap_or_default();
    match (name.as_str(), args.get(1).map(String::as_str)) {
        (_, Some("shim")) => runtime::shim::main(&args[2..]),
        ("kubectl", _) => kubectl::main(args[1..].to_vec()),
        _ => cli::run(&args),
    }
}
