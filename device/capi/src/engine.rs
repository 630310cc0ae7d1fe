//! The functions. Each turns what C hands over into references once, under the promises that `releq.h` asks for.
#![allow(clippy::missing_safety_doc, reason = "releq.h states what callers promise, in one place")]

use core::ffi::c_char;
use core::mem::MaybeUninit;
use core::slice;

use releq_device::Engine;
use releq_device::kernels::Kernel;
use releq_format::image::Image;

use crate::status::{self, Status};

/// Most layers of an image, as `RELEQ_MAX_LAYERS`.
pub const MAX_LAYERS: usize = 48;
/// Bytes of a `releq_engine`, as `RELEQ_ENGINE_BYTES`: part of the interface, so that it does not move with a compiler.
pub const ENGINE_BYTES: usize = 2816;

/// What a `releq_engine` holds.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Storage {
    /// [`OPEN`] while `engine` is written; storage that is zero is not open.
    state: u32,
    detail: u32,
    engine: MaybeUninit<Engine<'static, MAX_LAYERS>>,
}

/// Hardly what uncleared memory holds.
const OPEN: u32 = u32::from_le_bytes(*b"rlq\xF2");

// A workstation's pointers are wider, and its tests declare a `Storage` itself.
const _: () = assert!(size_of::<usize>() != 4 || size_of::<Storage>() <= ENGINE_BYTES);

/// As much as Rust takes for one object.
const LARGEST: usize = isize::MAX as usize;

/// Opens the image at the start of `image_bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_open(
    engine: *mut Storage,
    image: *const u8,
    image_bytes: usize,
    arena: *mut u8,
    arena_bytes: usize,
    kernels: *const Option<&'static Kernel>,
    kernel_count: usize,
) -> Status {
    if engine.is_null() || image.is_null() || arena.is_null() || kernels.is_null() {
        return Status::NULL;
    }
    if !engine.is_aligned() {
        return Status::ENGINE_MISALIGNED;
    }
    // SAFETY: not null, aligned, and the caller's alone until this returns.
    let storage = unsafe { &mut *engine };
    (storage.state, storage.detail) = (0, 0);
    // SAFETY: the caller promises these bytes, readable and unchanged as long as the engine is used.
    let image = unsafe { slice::from_raw_parts(image, image_bytes.min(LARGEST)) };
    // SAFETY: the caller promises these bytes for the engine alone, as long as it is used.
    let arena = unsafe { slice::from_raw_parts_mut(arena, arena_bytes.min(LARGEST)) };
    if !kernels.is_aligned() || kernel_count > LARGEST / size_of::<usize>() {
        return Status::MISSING_KERNEL;
    }
    // SAFETY: the caller promises that many pointers to releq_kernel objects, or null, which `Option` takes.
    let listed = unsafe { slice::from_raw_parts(kernels, kernel_count) };
    if listed.iter().any(Option::is_none) {
        return Status::NULL;
    }
    // SAFETY: none of them is null, and then `Option<&Kernel>` has the representation of `&Kernel`.
    let kernels: &'static [&'static Kernel] = unsafe { slice::from_raw_parts(kernels.cast(), kernel_count) };
    open(storage, image, arena, kernels)
}

fn open(
    storage: &mut Storage,
    image: &'static [u8],
    arena: &'static mut [u8],
    kernels: &'static [&'static Kernel],
) -> Status {
    let opened = Image::open_in(image).map_err(status::of_image);
    let made = opened.and_then(|image| Engine::new(&image, arena, kernels).map_err(status::of_open));
    match made {
        Ok(engine) => {
            storage.engine.write(engine);
            storage.state = OPEN;
            Status::OK
        }
        Err((status, detail)) => {
            storage.detail = detail;
            status
        }
    }
}

/// The engine in `storage`, if it is open.
///
/// # Safety
/// `storage` is null, or a `releq_engine` that was zeroed or given to `releq_open`, and nobody else's meanwhile.
unsafe fn opened<'a>(storage: *mut Storage) -> Option<&'a mut Engine<'static, MAX_LAYERS>> {
    if storage.is_null() || !storage.is_aligned() {
        return None;
    }
    // SAFETY: not null, aligned, initialised and the caller's alone, as this function asks.
    let storage = unsafe { &mut *storage };
    // SAFETY: the state says so only after `open` has written it.
    (storage.state == OPEN).then(|| unsafe { storage.engine.assume_init_mut() })
}

/// The number that belongs to the last failure of `releq_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_detail(engine: *const Storage) -> u32 {
    if engine.is_null() || !engine.is_aligned() {
        return 0;
    }
    // SAFETY: not null, aligned, and the caller promises a `releq_engine` that was zeroed or given to `releq_open`.
    unsafe { (*engine).detail }
}

/// Where the input codes go.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_input(engine: *mut Storage, bytes: *mut usize) -> *mut u8 {
    // SAFETY: the caller promises what `opened` asks for.
    let input = unsafe { opened(engine) }.map(Engine::input_mut);
    // SAFETY: null, or the caller's own count.
    if let Some(bytes) = unsafe { bytes.as_mut() } {
        *bytes = input.as_ref().map_or(0, |input| input.len());
    }
    input.map_or(core::ptr::null_mut(), <[u8]>::as_mut_ptr)
}

/// Runs every layer once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_run(engine: *mut Storage) -> Status {
    // SAFETY: the caller promises what `opened` asks for.
    let Some(engine) = (unsafe { opened(engine) }) else { return Status::NOT_OPEN };
    engine.run(&mut ());
    Status::OK
}

/// Copies logits out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_logits(engine: *mut Storage, logits: *mut i32, capacity: usize) -> usize {
    // SAFETY: the caller promises what `opened` asks for.
    let Some(engine) = (unsafe { opened(engine) }) else { return 0 };
    if !logits.is_null() && logits.is_aligned() {
        for (index, logit) in engine.logits().enumerate().take(capacity) {
            // SAFETY: the caller promises room for `capacity` of them, and no more are written.
            unsafe { logits.wrapping_add(index).write(logit) };
        }
    }
    engine.outputs()
}

/// The class with the largest logit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_top1(engine: *mut Storage) -> i32 {
    // SAFETY: the caller promises what `opened` asks for.
    unsafe { opened(engine) }.map_or(-1, |engine| engine.top1() as i32)
}

/// Runs the image's known answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn releq_self_test(engine: *mut Storage) -> Status {
    // SAFETY: the caller promises what `opened` asks for.
    let Some(engine) = (unsafe { opened(engine) }) else { return Status::NOT_OPEN };
    match engine.self_test() {
        Some(true) => Status::OK,
        Some(false) => Status::SELF_TEST_FAILED,
        None => Status::NO_SELF_TEST,
    }
}

/// Fact, cause and remedy of a code.
#[unsafe(no_mangle)]
pub extern "C" fn releq_error_text(status: i32) -> *const c_char {
    status::text(status).as_ptr()
}
