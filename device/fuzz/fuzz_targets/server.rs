//! Any host: every answer is one, a repeated request is not run twice, and the next host is served.
#![no_main]

use libfuzzer_sys::fuzz_target;
use releq_fuzz::script::Script;

fuzz_target!(|script: Script<'_>| script.play());
