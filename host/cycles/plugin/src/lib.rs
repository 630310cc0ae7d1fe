//! Counts instructions and estimates cycles inside QEMU, and writes both down whenever the firmware reads its timer.
//!
//! QEMU 6.0 to 8.2 load this (version 1 of its plugin interface, `include/qemu/qemu-plugin.h`). Arguments: `timer`, the
//! address whose loads are marks, in hexadecimal, and `out`, the file that gets a line a mark:
//! `instructions cycles divisions`, all since the start. Its first line names the model and its band in percent.
//!
//! Instructions are counted one by one, which stays exact where QEMU repeats part of a block.

mod qemu;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use releq_cycles::decode::{Class, Instruction, decode};
use releq_cycles::model::{self, BAND_PERCENT, NAME};

/// Since the start; one core runs, so no two threads add.
static INSTRUCTIONS: AtomicU64 = AtomicU64::new(0);
static CYCLES: AtomicU64 = AtomicU64::new(0);
static DIVISIONS: AtomicU64 = AtomicU64::new(0);
/// Where the block before would go on without a branch; 0 before the first.
static NEXT: AtomicU64 = AtomicU64::new(0);

static MARKS: OnceLock<Marks> = OnceLock::new();

/// Where marks are made and go.
struct Marks {
    timer: u64,
    file: File,
}

/// A translated block, as its execution needs it.
struct Block {
    start: u64,
    end: u64,
    /// Whether its first instruction has four bytes.
    wide: bool,
}

/// Version 1 of the interface; read by QEMU.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU's name")]
pub static qemu_plugin_version: c_int = 1;

/// Called by QEMU when it loads the plugin; 0 is success.
///
/// # Safety
/// `arguments` are `count` C strings, as QEMU gives them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let texts = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: QEMU gives `count` C strings, which outlive this call.
        unsafe { CStr::from_ptr(*arguments.add(index)) }.to_string_lossy()
    });
    let (mut timer, mut out) = (None, None);
    for text in texts {
        match text.split_once('=') {
            Some(("timer", address)) => timer = u64::from_str_radix(address.trim_start_matches("0x"), 16).ok(),
            Some(("out", path)) => out = File::create(path).ok(),
            _ => {}
        }
    }
    let (Some(timer), Some(mut file)) = (timer, out) else {
        eprintln!("releq's plugin takes timer=ADDRESS and out=FILE");
        return 1;
    };
    if writeln!(file, "{NAME} {BAND_PERCENT}").is_err() || MARKS.set(Marks { timer, file }).is_err() {
        return 1;
    }
    // SAFETY: `id` is this plugin's, and the function lives as long as the process.
    unsafe { qemu::qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

/// A block has been translated: its instructions get their costs.
extern "C" fn translated(_: u64, block: *mut qemu::Block) {
    // SAFETY: QEMU lends the block for the time of this call.
    let (count, start) = unsafe { (qemu::qemu_plugin_tb_n_insns(block), qemu::qemu_plugin_tb_vaddr(block)) };
    let (mut end, mut before, mut wide) = (start, None, false);
    for index in 0..count {
        // SAFETY: as above, and `index` is below the number of instructions.
        let instruction = unsafe { qemu::qemu_plugin_tb_get_insn(block, index) };
        // SAFETY: an instruction of a block that is lent; its data are `size` bytes.
        let bytes = unsafe {
            let (data, size) = (qemu::qemu_plugin_insn_data(instruction), qemu::qemu_plugin_insn_size(instruction));
            end += size as u64;
            std::slice::from_raw_parts(data.cast::<u8>(), size)
        };
        let Some(decoded) = decode(bytes) else { continue };
        charge(instruction, &decoded, before.as_ref());
        wide |= index == 0 && decoded.size == 4;
        before = Some(decoded);
    }
    // Kept as long as QEMU may run the block, which it does not say: for good.
    let kept = Box::into_raw(Box::new(Block { start, end, wide }));
    // SAFETY: the function takes what `kept` points to.
    unsafe { qemu::qemu_plugin_register_vcpu_tb_exec_cb(block, entered, 0, kept.cast()) };
}

/// Adds what an instruction takes to the counters whenever it runs.
fn charge(instruction: *mut qemu::Instruction, decoded: &Instruction, before: Option<&Instruction>) {
    let cycles = u64::from(model::cycles(decoded, before));
    let add = |counter: &'static AtomicU64, by: u64| {
        // SAFETY: an instruction of a block that is lent; the counter is static, and only the one core's thread adds.
        unsafe { qemu::qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, counter.as_ptr().cast(), by) }
    };
    add(&INSTRUCTIONS, 1);
    add(&CYCLES, cycles);
    if decoded.class == Class::Divide {
        add(&DIVISIONS, 1);
    }
    if matches!(decoded.class, Class::Load | Class::Store | Class::StoreAtRegister) {
        // SAFETY: as above; 3 is both loads and stores, 0 that no registers are looked at.
        unsafe {
            qemu::qemu_plugin_register_vcpu_mem_cb(instruction, accessed, 0, 3, std::ptr::null_mut());
        }
    }
}

/// A block begins: behind anything but its neighbour before, a branch was taken.
extern "C" fn entered(_: c_uint, block: *mut c_void) {
    // SAFETY: `translated` made it, and nothing frees it.
    let block = unsafe { &*block.cast::<Block>() };
    let expected = NEXT.swap(block.end, Relaxed);
    if expected != block.start && expected != 0 {
        CYCLES.fetch_add(u64::from(model::taken(block.start as u32, block.wide)), Relaxed);
    }
}

/// Memory was read or written.
extern "C" fn accessed(_: c_uint, information: u32, address: u64, _: *mut c_void) {
    // SAFETY: the information is the one QEMU gave.
    let size = unsafe { qemu::qemu_plugin_mem_size_shift(information) };
    if size == 2 && !address.is_multiple_of(4) {
        CYCLES.fetch_add(u64::from(model::UNALIGNED), Relaxed);
    }
    let Some(marks) = MARKS.get().filter(|marks| marks.timer == address) else { return };
    // SAFETY: as above.
    if unsafe { qemu::qemu_plugin_mem_is_store(information) } {
        return;
    }
    let [instructions, cycles, divisions] = [&INSTRUCTIONS, &CYCLES, &DIVISIONS].map(|counter| counter.load(Relaxed));
    // At once, since QEMU is killed when it is done. A mark that is not written is missed by who reads.
    let _ = (&marks.file).write_all(format!("{instructions} {cycles} {divisions}\n").as_bytes());
}
