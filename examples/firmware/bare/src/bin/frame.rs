//! The program around the engine without it: what docs/sizes.md takes off the others to tell the engine's own size.
#![no_std]
#![no_main]

use core::hint::black_box;

use bare::report::Report;

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut report = Report::open();
    report.line("network", "none");
    let ticks = bare::timed(|| ());
    report.number("ticks", ticks as i32);
    report.numbers("logits", black_box(bare::SEVEN).iter().take(1).map(|&code| i32::from(code)));
    report.number("stack bytes", bare::memory::stack_high_water() as i32);
    report.succeed()
}
