//! The command line alone, for trying it without the whole binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl::main(std::env::args().skip(1).collect())
}
