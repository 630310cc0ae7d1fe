//! The library holds to its header, and answers with codes what a caller can get wrong. Runs on the workstation.

use core::mem::{MaybeUninit, zeroed};
use core::ptr::{null, null_mut};
use std::collections::BTreeSet;
use std::fs;
use std::string::String;
use std::vec::Vec;

use releq_device::kernels::Kernel;

use crate::engine::{self, Storage, releq_detail, releq_input, releq_logits, releq_open, releq_run};
use crate::engine::{releq_error_text, releq_self_test, releq_top1};
use crate::kernel;
use crate::status::{self, Status};

const HEADER: &str = include_str!("../include/releq.h");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The header without comments, its white space single.
fn declarations() -> String {
    let mut text = String::new();
    let mut rest = HEADER;
    while let Some((code, comment)) = rest.split_once("/*") {
        text.push_str(code);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A Rust type of this interface as C writes it.
fn in_c(rust: &str) -> &'static str {
    match rust {
        "*mut Storage" => "releq_engine *",
        "*const Storage" => "const releq_engine *",
        "*const u8" => "const uint8_t *",
        "*mut u8" => "uint8_t *",
        "*mut usize" => "size_t *",
        "*mut i32" => "int32_t *",
        "*const c_char" => "const char *",
        "*const Option<&'static Kernel>" => "const releq_kernel *const *",
        "usize" => "size_t ",
        "u32" => "uint32_t ",
        "i32" => "int32_t ",
        "Status" => "releq_status ",
        other => panic!("no C type for {other}"),
    }
}

/// The prototype of each exported function, made of its Rust signature.
fn prototypes() -> Vec<String> {
    let source = include_str!("engine.rs");
    let exported = source.split("#[unsafe(no_mangle)]").skip(1);
    let prototype = |text: &str| {
        let (name, rest) = text.split_once("fn ").unwrap().1.split_once('(').unwrap();
        let (parameters, rest) = rest.split_once(')').unwrap();
        let result = rest.split_once("-> ").unwrap().1.split_once(" {").unwrap().0;
        let parameters = parameters.split(',').map(str::trim).filter(|parameter| !parameter.is_empty());
        let parameters = parameters.map(|parameter| {
            let (name, rust) = parameter.split_once(": ").unwrap();
            // C's enum constants are ints; the code is the same 32 bits.
            let c = if (name, rust) == ("status", "i32") { "releq_status " } else { in_c(rust) };
            std::format!("{c}{name}")
        });
        std::format!("{}{name}({});", in_c(result), parameters.collect::<Vec<_>>().join(", "))
    };
    exported.map(prototype).collect()
}

#[test]
fn the_header_declares_each_function_as_it_is() {
    let (header, prototypes) = (declarations(), prototypes());
    assert_eq!(prototypes.len(), 8);
    for prototype in &prototypes {
        assert!(header.contains(prototype), "releq.h lacks {prototype}");
    }
    let declared = header.split("; ").filter(|text| text.contains("releq_") && text.contains('(')).count();
    assert_eq!(declared, prototypes.len(), "releq.h declares a function that there is not");
}

#[test]
fn the_header_has_each_kernel() {
    let source = include_str!("kernel.rs");
    let exported: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("releq_")?.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    let header = declarations();
    let declared: BTreeSet<&str> =
        header.split("extern const releq_kernel releq_").skip(1).map(|text| text.split_once(';').unwrap().0).collect();
    assert_eq!(declared, exported);
    assert_eq!(exported.len(), 13);
}

#[test]
fn the_header_has_each_code_and_size() {
    let header = declarations();
    for (name, code) in status::ALL {
        let found = header.split(&std::format!("RELEQ_{name} = ")).nth(1).expect(name);
        let digits: String = found.chars().take_while(char::is_ascii_digit).collect();
        assert_eq!(digits.parse(), Ok(*code), "RELEQ_{name}");
    }
    let constants = header.matches(" = ").count();
    assert_eq!(constants, status::ALL.len(), "releq.h has a code that no function returns");
    for (name, value) in [("MAX_LAYERS", engine::MAX_LAYERS), ("ENGINE_BYTES", engine::ENGINE_BYTES)] {
        assert!(HEADER.contains(&std::format!("#define RELEQ_{name} {value}\n")), "{name}");
    }
}

#[test]
fn each_text_has_fact_cause_and_remedy() {
    for (name, code) in status::ALL.iter().filter(|(_, code)| *code != 0) {
        // SAFETY: the library's texts end with a zero and are static.
        let text = unsafe { core::ffi::CStr::from_ptr(releq_error_text(*code)) }.to_str().unwrap();
        assert_eq!(text.matches(". ").count(), 2, "{name}: {text}");
        assert!(text.ends_with('.'), "{name}");
    }
    assert_ne!(status::text(-1), status::text(0));
}

/// An image file at the alignment that engines want, behind it what a region of flash has.
fn region(path: &str) -> (Vec<u64>, usize) {
    let bytes = fs::read(std::format!("{ROOT}/{path}")).unwrap();
    let mut words: Vec<u64> = std::vec![u64::MAX; bytes.len() / 8 + 3];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut filled = [0xFF; 8];
        filled[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(filled);
    }
    let length = 8 * words.len();
    (words, length)
}

const LENET: &str = "examples/firmware/model/lenet5.rlq";

static KERNELS: [Option<&'static Kernel>; 3] =
    [Some(&kernel::releq_packed_conv2d), Some(&kernel::releq_packed_dense), Some(&kernel::releq_packed_maxpool)];

fn closed() -> Storage {
    // SAFETY: integers and `MaybeUninit`, of which zero is a value.
    unsafe { zeroed() }
}

/// Opens with an arena of `arena` bytes and the first `kernels` of LeNet's, and gives code and detail.
fn open(engine: &mut Storage, image: &[u8], arena: &mut [u64], kernels: usize) -> (Status, u32) {
    let (bytes, arena) = (8 * arena.len(), arena.as_mut_ptr().cast());
    // SAFETY: all of it outlives the uses in each test.
    unsafe {
        let status = releq_open(engine, image.as_ptr(), image.len(), arena, bytes, KERNELS.as_ptr(), kernels);
        (status, releq_detail(engine))
    }
}

fn bytes((words, length): &(Vec<u64>, usize)) -> &[u8] {
    // SAFETY: the words of the vector, seen as their bytes.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), *length) }
}

#[test]
fn it_runs_lenet() {
    let (region, mut arena, mut engine) = (region(LENET), std::vec![0u64; 1024], closed());
    assert_eq!(open(&mut engine, bytes(&region), &mut arena, 3), (Status::OK, 0));
    let seven = fs::read(std::format!("{ROOT}/examples/firmware/model/seven.codes")).unwrap();
    let mut logits = [0; 11];
    // SAFETY: the engine is open, and each count is that of what is passed.
    unsafe {
        assert_eq!(releq_self_test(&mut engine), Status::OK);
        let mut length = 0;
        let input = releq_input(&mut engine, &mut length);
        assert_eq!(length, seven.len());
        input.copy_from(seven.as_ptr(), length);
        assert_eq!(releq_run(&mut engine), Status::OK);
        assert_eq!(releq_top1(&mut engine), 7);
        assert_eq!(releq_logits(&mut engine, logits.as_mut_ptr(), 2), 10);
        assert_eq!(logits[2..], [0; 9], "no more than the capacity is written");
        assert_eq!(releq_logits(&mut engine, logits.as_mut_ptr(), 11), 10);
    }
    let out = include_str!("../../../examples/firmware/bare/src/bin/embedded.out");
    let printed = out.lines().find_map(|line| line.strip_prefix("logits: ")).unwrap();
    let printed: Vec<i32> = printed.split(' ').map(|logit| logit.parse().unwrap()).collect();
    assert_eq!(logits[..10], printed[..], "the answer of the Rust example in QEMU");
}

#[test]
fn what_a_caller_gets_wrong_has_a_code() {
    let (region, mut arena, mut engine) = (region(LENET), std::vec![0u64; 1024], closed());
    let image = bytes(&region);
    assert_eq!(open(&mut engine, image, &mut arena[..100], 3), (Status::ARENA_TOO_SMALL, 7904));
    assert_eq!(open(&mut engine, image, &mut arena, 1), (Status::MISSING_KERNEL, 1));
    assert_eq!(open(&mut engine, &image[4..], &mut arena, 3), (Status::IMAGE_MISALIGNED, 0));
    assert_eq!(open(&mut engine, &image[8..], &mut arena, 3), (Status::NOT_AN_IMAGE, 0));
    assert_eq!(open(&mut engine, &image[..1000], &mut arena, 3), (Status::IMAGE_TRUNCATED, 0));
    let mut damaged = region.clone();
    damaged.0[500] ^= 1;
    assert_eq!(open(&mut engine, bytes(&damaged), &mut arena, 3), (Status::IMAGE_CHECKSUM, 0));
    let at = arena.as_mut_ptr().cast::<u8>().wrapping_add(4);
    // SAFETY: all of it outlives the calls; what is null or misaligned is what is asked about.
    unsafe {
        let open =
            |engine, image: *const u8, arena, kernels| releq_open(engine, image, 14_000, arena, 8000, kernels, 3);
        let (engine, listed) = (&raw mut engine, KERNELS.as_ptr());
        assert_eq!(open(engine, image.as_ptr(), at, listed), Status::ARENA_MISALIGNED);
        assert_eq!(open(null_mut(), image.as_ptr(), at, listed), Status::NULL);
        assert_eq!(open(engine, null(), at, listed), Status::NULL);
        assert_eq!(open(engine, image.as_ptr(), null_mut(), listed), Status::NULL);
        assert_eq!(open(engine, image.as_ptr(), at, null()), Status::NULL);
        assert_eq!(open(engine, image.as_ptr(), at, [None; 3].as_ptr()), Status::NULL);
        let askew = engine.cast::<u8>().wrapping_add(4).cast();
        assert_eq!(open(askew, image.as_ptr(), at, listed), Status::ENGINE_MISALIGNED);
        // After a failure nothing is open.
        for engine in [engine, null_mut(), askew] {
            assert_eq!(releq_run(engine), Status::NOT_OPEN);
            assert_eq!(releq_self_test(engine), Status::NOT_OPEN);
            assert_eq!(releq_top1(engine), -1);
            assert_eq!(releq_logits(engine, null_mut(), 0), 0);
            let mut length = MaybeUninit::new(9);
            assert!(releq_input(engine, length.as_mut_ptr()).is_null());
            assert_eq!(length.assume_init(), 0);
        }
    }
}
