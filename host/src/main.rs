//! The door of the workbench: hands the command line to the library and its verdict to the shell.

use std::process::ExitCode;

/// glibc's allocator gives every activation back to the kernel and takes it again; this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many threads Candle takes for element-wise ops; they wait by spinning, and the ops that matter run on rayon.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

fn main() -> ExitCode {
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: nothing has started a thread yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
    releq::cli::main()
}
