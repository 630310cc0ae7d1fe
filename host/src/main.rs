//! The door of the workbench: hands the command line to the library and its verdict to the shell.

use std::process::ExitCode;

/// glibc's allocator gives every activation back to the kernel and takes it again; this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    releq::cli::main()
}
