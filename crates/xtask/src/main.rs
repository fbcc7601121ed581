//! Project chores, one tool instead of a zoo of scripts: `cargo xtask COMMAND`.

mod budgets;
mod codegen;
mod e2e;
mod golden;
mod images;
mod run;
mod suite;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test       everything that CI checks: tidy, unit tests, simulation, golden corpus, end-to-end
  tidy       the rules of ARCHITECTURE.md
  codegen    write the generated tables from facts/ (a test fails when they are stale)
  golden     replay golden/ against `corten apiserver`; fails when a case of golden/passing.txt does
             --update writes golden/passing.txt anew; other arguments go to replay.py
  budgets    measure the promises of BUDGETS.md on a release build (needs root)
  e2e        end-to-end tests with real containers (needs root)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("codegen") => codegen::run(),
        Some("tidy") => tidy::run(),
        Some("golden") => golden::run(rest),
        Some("budgets") => budgets::run(rest),
        Some("e2e") => e2e::run(rest),
        Some("test") => suite::run(),
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
