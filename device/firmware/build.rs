//! Renders one memory map per binary from the board table, and links each binary with its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use releq_device::board::{self, Board};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    for board in board::ALL.iter().filter(|board| board.target == target) {
        link(&out, &board.name.replace('-', "_"), board);
    }
    // Linked and never run, so any map will do, also for cores without a board of their own.
    link(&out, "no_panic", &board::ALL[0]);
    println!("cargo:rerun-if-changed=build.rs");
}

/// Puts the board's `memory.x` where the linker looks for it when it links `binary`.
fn link(out: &Path, binary: &str, board: &Board) {
    let directory = out.join(binary);
    fs::create_dir_all(&directory).expect("OUT_DIR is writable");
    fs::write(directory.join("memory.x"), memory_x(board)).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-arg-bin={binary}=-L{}", directory.display());
    println!("cargo:rustc-link-arg-bin={binary}=-Tlink.x");
    // Segments at their own addresses: page alignment would waste the start of flash.
    println!("cargo:rustc-link-arg-bin={binary}=--nmagic");
}

/// The names FLASH and RAM are cortex-m-rt's.
fn memory_x(board: &Board) -> String {
    let line = |name: &str, memory: board::Memory| {
        format!("  {name} : ORIGIN = {:#010x}, LENGTH = {:#x}\n", memory.origin, memory.length)
    };
    format!("MEMORY {{\n{}{}}}\n", line("FLASH", board.code), line("RAM", board.data))
}
