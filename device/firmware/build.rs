//! Renders one memory map per binary from the board table, and links each binary with its own; and the keys of runners
//! that run signed images only.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use releq_device::board::{self, Board, Boot, Memory};

/// Bytes of the RP2040's second stage, at the start of its flash.
const SECOND_STAGE: u32 = 256;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    for board in board::ALL.iter().filter(|board| board.target == target) {
        link(&out, &board.name.replace('-', "_"), board);
    }
    for on_m4 in ["virt_m4_uart", "power_cuts", "damage"] {
        link(&out, on_m4, &board::VIRT_M4);
    }
    // Linked and never run, so any map with the room will do, also for cores without a board of their own.
    link(&out, "no_panic", &board::VIRT_M3);
    // Armv6-M has no CYCCNT (Armv6-M manual, §C1.8), and cortex-m no name for it there.
    if !target.starts_with("thumbv6m") {
        println!("cargo:rustc-cfg=has_cycle_counter");
    }
    if env::var_os("CARGO_FEATURE_SIGNED").is_some() {
        fs::write(out.join("keys.rs"), keys()).expect("OUT_DIR is writable");
    }
    println!("cargo:rerun-if-changed=build.rs");
}

/// The keys in the files that RELEQ_KEYS names, as a slice expression.
fn keys() -> String {
    println!("cargo:rerun-if-env-changed=RELEQ_KEYS");
    let files = env::var_os("RELEQ_KEYS").unwrap_or_else(|| {
        panic!("a runner with the feature `signed` needs keys; name the files of public keys in RELEQ_KEYS")
    });
    let keys: Vec<String> = env::split_paths(&files).map(|file| format!("PublicKey({:?})", key(&file))).collect();
    format!("&[{}]", keys.join(", "))
}

/// The key in a file that `releq keygen` wrote.
fn key(file: &Path) -> [u8; 32] {
    println!("cargo:rerun-if-changed={}", file.display());
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    let digits = text.trim().strip_prefix("releq-public-key-1 ").filter(|digits| digits.len() == 64);
    let byte = |index: usize| u8::from_str_radix(digits?.get(2 * index..2 * index + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let key = bytes.and_then(|bytes| bytes.try_into().ok());
    key.unwrap_or_else(|| panic!("{} holds no public key; `releq keygen` makes them", file.display()))
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

/// The names FLASH and RAM are cortex-m-rt's, those of the sections are the chips' crates'.
fn memory_x(board: &Board) -> String {
    let ram = line("RAM", board.data);
    match board.boot {
        Boot::Vectors => format!("MEMORY {{\n{}{ram}}}\n", line("FLASH", board.code)),
        Boot::SecondStage => {
            let (stage, code) = split(board.code, SECOND_STAGE);
            let memories = [line("BOOT2", stage), line("FLASH", code), ram].concat();
            format!("MEMORY {{\n{memories}}}\nSECTIONS {{ .boot2 : {{ KEEP(*(.boot2)); }} > BOOT2 }}\n")
        }
        // Within the first 4 KiB, so right after the vectors.
        Boot::ImageDefinition => format!(
            "MEMORY {{\n{}{ram}}}\n\
             SECTIONS {{ .start_block : ALIGN(4) {{ KEEP(*(.start_block)); }} > FLASH }} INSERT AFTER .vector_table;\n\
             _stext = ADDR(.start_block) + SIZEOF(.start_block);\n",
            line("FLASH", board.code)
        ),
    }
}

fn line(name: &str, memory: Memory) -> String {
    format!("  {name} : ORIGIN = {:#010x}, LENGTH = {:#x}\n", memory.origin, memory.length)
}

/// The first `bytes` of `memory`, and the rest.
fn split(memory: Memory, bytes: u32) -> (Memory, Memory) {
    let rest = Memory { origin: memory.origin + bytes, length: memory.length - bytes };
    (Memory { length: bytes, ..memory }, rest)
}
