//! The door of the workbench: hands the command line to the library and its verdict to the shell.

use std::process::ExitCode;

/// glibc's allocator gives every activation back to the kernel and takes it again; this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many threads Candle takes for element-wise ops; they wait by spinning, and the ops that matter run on rayon.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// mimalloc's option for how long memory stays that nobody uses, in milliseconds: `mi_option_purge_delay` of its header,
/// which the crate does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: it sets a number that mimalloc looks at; every value is one it takes.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1) };
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: nothing has started a thread yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
    releq::cli::main()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay() {
        // SAFETY: it reads a number.
        let milliseconds = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(milliseconds, 1000, "a second, unless the environment says otherwise");
    }
}
