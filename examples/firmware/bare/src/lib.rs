//! What the three programs share: one classification from opening the image to the verdict.
//!
//! `frame` is what is left of them without the engine. They differ in where the image lies and in which kernels they link:
//! * `embedded`: in the program, with `include_image!`, and LeNet's DSP kernels;
//! * `portable`: the same with LeNet's portable kernels, for cores without DSP instructions;
//! * `region`: in a flash region of its own, and every portable kernel, since any model may come.
//!
//! [`memory`] is the only room with `unsafe`.
#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[allow(unsafe_code, reason = "the one room that speaks of addresses")]
pub mod memory;
pub mod report;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use releq_device::kernels::Kernel;
use releq_device::{Arena, Engine};
use releq_format::image::Image;

use report::Report;

/// Working memory of these programs: enough for the image here, which says what it needs.
pub type Memory = Arena<{ 8 * 1024 }>;

/// Input codes, here pixels: a 7.
pub static SEVEN: &[u8] = include_bytes!("../../model/seven.codes");

/// Most layers of an image.
const LAYERS: usize = 12;

/// Ticks of the core's own timer that `work` takes, at most 2^24: cycles on a board. QEMU's AN386 ticks at 25 MHz of the
/// time that its option `-icount` gives each instruction.
pub fn timed(work: impl FnOnce()) -> u32 {
    const MOST: u32 = 0x00FF_FFFF;
    let Some(mut core) = cortex_m::Peripherals::take() else { return 0 };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(MOST);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    let begin = SYST::get_current();
    work();
    // It counts down.
    begin.wrapping_sub(SYST::get_current()) & MOST
}

/// Opens the image at the start of `region`, tests it, runs it on [`SEVEN`], says what came out and ends.
pub fn classify(region: &[u8], memory: &mut Memory, kernels: &'static [&'static Kernel]) -> ! {
    let mut report = Report::open();
    let Ok(image) = Image::open_in(region) else {
        report.refuse("no sound image here: erased flash, a damaged file or another format; write the .rlq file again")
    };
    let Ok(mut engine) = Engine::<LAYERS>::new(&image, &mut memory.0, kernels) else {
        report.refuse("the image asks for more: arena, layers or kernels; `releq inspect` prints what it needs")
    };
    match engine.self_test() {
        Some(true) => report.line("self-test", "passed"),
        Some(false) => report.refuse("the image's own test failed: flash or RAM is damaged; write the image again"),
        None => report.line("self-test", "not recorded"),
    }
    report.line("network", image.header().name);
    // An input of another size than this program's sample stays what the test left: then the answer means nothing.
    if engine.input_mut().len() == SEVEN.len() {
        engine.input_mut().copy_from_slice(SEVEN);
        let ticks = timed(|| engine.run(&mut ()));
        report.number("ticks", ticks as i32);
        report.number("class", engine.top1() as i32);
    }
    report.numbers("logits", engine.logits());
    report.number("arena bytes", image.arena_bytes() as i32);
    report.number("stack bytes", memory::stack_high_water() as i32);
    report.succeed()
}
