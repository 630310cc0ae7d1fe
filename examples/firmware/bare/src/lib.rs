//! What the three programs share: one classification from opening the image to the verdict.
//!
//! They differ in where the image lies and in which kernels they link:
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
        engine.run(&mut ());
        report.number("class", engine.top1() as i32);
    }
    report.numbers("logits", engine.logits());
    report.number("arena bytes", image.arena_bytes() as i32);
    report.number("stack bytes", memory::stack_high_water() as i32);
    report.succeed()
}
