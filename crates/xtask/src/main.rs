//! Project chores: `cargo xtask codegen | tidy | test | golden | bench`. One tool instead of a zoo of scripts.

mod codegen;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  codegen   write the generated tables from facts/ (a test fails when they are stale)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("codegen") => codegen::run(),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
