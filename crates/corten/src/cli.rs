//! The commands.

use crate::components;
use crate::flags::{Flags, Spec};
use crate::lifecycle::{self, Place, Up};
use crate::paths::Paths;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const START: &str = "\
Start here, as root:
  corten up                                     a cluster with one node in /var/lib/corten
  export KUBECONFIG=/var/lib/corten/kubeconfig  how to reach it
  corten image load app.tar                     an image from `docker save`; or let nodes pull it from a registry
  corten kubectl create deployment web --image=IMAGE
  corten status                                 what is ready, and what keeps the rest from it
  corten reset --yes                            removes all of it

controller-manager, scheduler, kubelet, proxy and apiserver take upstream's flags; `corten COMPONENT --help` lists
those that act. CORTEN_LOG=debug makes the log longer.";

const UP: &str = "\
The command returns when the nodes are ready. If the data directory holds a cluster, that one is taken up again with
its pods, which run on while no process of Corten does. Several clusters live side by side in different data
directories, each with ports and ranges of its own.

Examples:
  corten up --nodes 3                            three nodes on this machine
  corten up --data-dir ~/lab --foreground        somewhere else, with the log in the terminal; Ctrl-C ends it
  corten up --container-runtime-endpoint unix:///run/containerd/containerd.sock";

/// Kubernetes, whole, in one binary.
#[derive(Parser)]
#[command(
    name = "corten",
    version,
    about = "Kubernetes, whole, in one binary",
    after_help = START,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster on this machine, or take up the one that is there
    #[command(after_help = UP)]
    Up(Up),
    /// Say how the cluster is, and why what is not ready is not
    Status(Place),
    /// End the cluster's process; its pods keep running
    Down(Place),
    /// Remove the cluster: objects, pods, volumes, networks, rules, files
    Reset {
        #[command(flatten)]
        place: Place,
        /// Where the key that encrypts secrets at rest is kept [default: where `up` keeps it]
        #[arg(long, value_name = "DIR")]
        key_dir: Option<PathBuf>,
        /// Yes, remove it all
        #[arg(long)]
        yes: bool,
    },
    /// Images of the nodes on this machine
    #[command(subcommand)]
    Image(Image),
    /// After a newer corten has proved itself: what cannot be taken back
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// The command line of Kubernetes (also when this binary is called `kubectl`)
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the API server alone, with upstream's flags
    #[command(disable_help_flag = true)]
    Apiserver {
        /// Upstream's flags (`--help` lists those that act)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the controllers alone, with upstream's flags
    #[command(disable_help_flag = true)]
    ControllerManager {
        /// Upstream's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the scheduler alone, with upstream's flags
    #[command(disable_help_flag = true)]
    Scheduler {
        /// Upstream's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the kubelet alone, against any CRI runtime, with upstream's flags
    #[command(disable_help_flag = true)]
    Kubelet {
        /// Upstream's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the service proxy alone, with upstream's flags
    #[command(disable_help_flag = true)]
    Proxy {
        /// Upstream's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run one more node of a cluster on this machine (started by `up --nodes`)
    #[command(hide = true)]
    Node {
        #[arg(long)]
        data_dir: PathBuf,
        #[arg(long)]
        name: String,
        #[arg(long)]
        number: u8,
        #[arg(long)]
        netns: PathBuf,
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        parent: u32,
    },
}

#[derive(Subcommand)]
enum Image {
    /// Load the images of an archive (`docker save` or OCI layout) into every node of the cluster
    Load {
        /// The archive, or a directory with an OCI layout
        file: PathBuf,
        #[command(flatten)]
        place: Place,
        /// Name for an image that has none
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Subcommand)]
enum Upgrade {
    /// Write the store in this corten's newest format; until then the one before can be started on it again
    Finalize(Place),
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
    let level = if crate::flags::verbosity(args) >= 4 { "debug" } else { "info" };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("CORTEN_LOG").unwrap_or_else(|_| level.into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let result = match cli.command {
        Command::Up(o) => lifecycle::up(o),
        Command::Status(place) => crate::status::run(&place),
        Command::Down(place) => lifecycle::down(&place),
        Command::Reset { place, key_dir, yes } => lifecycle::reset(&place, key_dir.as_deref(), yes),
        Command::Image(Image::Load { file, place, name }) => crate::images::load(&place, &file, name.as_deref()),
        Command::Upgrade(Upgrade::Finalize(place)) => crate::upgrade::finalize(&place),
        Command::Kubectl { args } => return kubectl::main(args),
        Command::Apiserver { args } if args.iter().any(|a| a == "--help" || a == "-h") => {
            print!("{}", crate::apiserver::SPEC.help());
            Ok(())
        }
        Command::Apiserver { args } => block_on(crate::apiserver::run(&args)),
        Command::ControllerManager { args } => alone(&components::CONTROLLERS, &args, components::controller_manager),
        Command::Scheduler { args } => alone(&components::SCHEDULER, &args, components::scheduler),
        Command::Kubelet { args } => alone(&components::KUBELET, &args, components::kubelet),
        Command::Proxy { args } => alone(&components::PROXY, &args, components::proxy),
        Command::Node { data_dir, name, number, netns, kubeconfig, parent } => {
            let join = crate::node::Join { paths: Paths::new(data_dir), name, number, netns, kubeconfig, parent };
            join.enter().and_then(|()| block_on(join.run()))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("corten: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a component with its flags.
fn alone<F: Future<Output = Result<(), String>>>(
    spec: &Spec,
    args: &[String],
    component: impl FnOnce(Flags) -> F,
) -> Result<(), String> {
    match components::flags(spec, args)? {
        Some(flags) => block_on(component(flags)),
        None => Ok(()),
    }
}

/// Prints a line. Whoever reads it may have read enough (`corten status | head -1`): that is no failure.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(crate) use say;

/// Runs a future on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("start the threads: {e}"))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// Waits for SIGTERM or SIGINT.
pub async fn until_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
