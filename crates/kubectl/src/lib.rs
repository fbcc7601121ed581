//! The command line: `kubectl`, as its users know it: same commands, flags, messages and exit codes.
//!
//! `kubectl::main(args)` takes the arguments after the program's name and answers the exit code; it builds its own runtime.
//! Everything goes through the API with the kubeconfig's identity. [`core`] is pure (flags, printers, templates, merges,
//! descriptions); [`cmd`] has the commands; [`commands`] is the table of all of them with their flags.
//!
//! Not yet: `edit`, `diff`, `top`, `cp`, `debug`, `set` but for images, kustomize, go-templates,
//! plugins, credentials by exec. An unknown flag is refused, never ignored.

pub mod cmd;
pub mod commands;
pub mod core;
pub mod failure;
pub mod files;
pub mod lines;
pub mod out;
pub mod session;
pub mod terminal;
pub mod watching;

use crate::commands::{COMMANDS, Command, GLOBAL};
use crate::core::flags::{self, Given, Takes};
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use platform::Env;
use std::process::ExitCode;

/// What a command is run with.
pub struct Ctx {
    /// The server.
    pub session: Session,
    /// Flags and arguments.
    pub given: Given,
}

/// Runs one command.
pub fn main(args: Vec<String>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(&args));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("{}", failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Finds the command's words among the arguments: flags may stand before and between them.
fn find(args: &[String]) -> (Option<&'static Command>, Vec<String>, Vec<String>) {
    let (mut words, mut rest) = (Vec::new(), Vec::new());
    let mut found: Option<&Command> = None;
    let mut items = args.iter();
    while let Some(arg) = items.next() {
        if arg == "--" || (found.is_some_and(|c| !has_more(&words.join(" "), c)) && !arg.starts_with('-')) {
            rest.push(arg.clone());
            rest.extend(items.cloned());
            break;
        }
        if arg.starts_with('-') && arg.len() > 1 {
            rest.push(arg.clone());
            if takes_next(arg, found) {
                rest.extend(items.next().cloned());
            }
            continue;
        }
        let mut longer = words.clone();
        longer.push(arg.clone());
        let name = longer.join(" ");
        let exact = COMMANDS.iter().find(|c| c.names.contains(&name.as_str()));
        if exact.is_some() || COMMANDS.iter().any(|c| c.names.iter().any(|n| n.starts_with(&format!("{name} ")))) {
            words = longer;
            found = exact;
        } else {
            rest.push(arg.clone());
            rest.extend(items.cloned());
            break;
        }
    }
    (found, words, rest)
}

/// Are there commands whose name goes on after `name`?
fn has_more(name: &str, _found: &Command) -> bool {
    COMMANDS.iter().any(|c| c.names.iter().any(|n| n.starts_with(&format!("{name} "))))
}

/// Does a flag written like this take the next argument as its value?
fn takes_next(arg: &str, command: Option<&Command>) -> bool {
    let sets = command.map_or(&[][..], |c| c.flags);
    let mut all = GLOBAL.iter().chain(sets.iter().flat_map(|s| s.iter()));
    let takes = |t: Takes| !matches!(t, Takes::Bool | Takes::Optional(_));
    match arg.strip_prefix("--") {
        Some(long) => !long.contains('=') && all.any(|f| f.name == long && takes(f.takes)),
        None => arg.len() == 2 && all.any(|f| arg.ends_with(f.short) && takes(f.takes)),
    }
}

async fn dispatch(args: &[String]) -> Outcome {
    let (found, words, rest) = find(args);
    let path = std::iter::once("kubectl").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let wants_help = rest.iter().take_while(|a| *a != "--").any(|a| a == "--help" || a == "-h");
    let Some(command) = found else {
        if let Some(unknown) = rest.iter().find(|a| !a.starts_with('-'))
            && unknown != "help"
        {
            return Err(Failure::error(format!("unknown command {unknown:?} for {path:?}")));
        }
        out::print(&commands::overview(&words.join(" ")));
        return Ok(());
    };
    if wants_help {
        out::print(&commands::help(command, &path));
        return Ok(());
    }
    let mut sets: Vec<&[flags::Flag]> = vec![GLOBAL];
    sets.extend(command.flags);
    let given =
        flags::parse(&rest, &sets).map_err(|e| Failure::error(format!("{e}\nSee '{path} --help' for usage.")))?;
    if let Some(local) = command.local {
        return local(&given);
    }
    let env = Env::system("kubectl");
    let session = Session::new(&env, &given)?;
    let ctx = Ctx { session, given };
    (command.run)(&ctx).await
}

#[cfg(test)]
mod tests;
