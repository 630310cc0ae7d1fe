//! Any releq.toml: refused in a sentence, or settings that options take or refuse.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::config;
use releq_fuzz_host::place::Place;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("settings", &[]));

fuzz_target!(|data: &[u8]| config::take(&PLACE.put("releq.toml", data)));
