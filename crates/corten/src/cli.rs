//! The commands.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Kubernetes, whole, in one binary.
#[derive(Parser)]
#[command(name = "corten", version, about = "Kubernetes, whole, in one binary", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the API server alone, with upstream's flags
    #[command(disable_help_flag = true)]
    Apiserver {
        /// Upstream's flags (`--help` lists those that act)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Runs a command line.
pub fn run(args: &[String]) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(1));
        }
    };
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::try_from_env("CORTEN_LOG").unwrap_or_else(|_| "info".into())).with_writer(std::io::stderr).with_target(false).init();
    let Command::Apiserver { args } = cli.command;
    if args.iter().any(|a| a == "--help" || a == "-h") {
        print!("{}", crate::apiserver::SPEC.help());
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(r) => r,
        Err(e) => {
            eprintln!("corten: start the threads: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(crate::apiserver::run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("corten: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn until_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else { return std::future::pending().await };
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
