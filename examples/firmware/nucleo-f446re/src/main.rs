//! Classifies what comes over the serial port: 784 input codes in, one line with class and latency out.
//!
//! The port is the ST-Link's (USART2, PA2 and PA3, 115 200 baud 8N1), so that the board's USB cable is all it takes:
//!
//! ```console
//! $ stty -F /dev/ttyACM0 115200 raw -echo
//! $ cat seven.codes > /dev/ttyACM0
//! $ head -n 1 /dev/ttyACM0
//! ```
//!
//! The LED on the board (PA5) is lit while the engine runs, for a scope. Builds in CI; nobody has run it on a board yet.
#![no_std]
#![no_main]

use core::fmt::Write;

use cortex_m::peripheral::DWT;
use cortex_m_rt::entry;
use nb::block;
use releq_device::kernels::Kernel;
use releq_device::{Arena, Engine, include_image, kernels};
use releq_format::image::Image;
use stm32f4xx_hal::pac;
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::rcc::Config;
use stm32f4xx_hal::serial;

/// What `releq inspect --kernels` prints for the image, of the family of this core.
const KERNELS: &[&Kernel] = kernels![dsp::CONV2D, dsp::DENSE, dsp::MAXPOOL];

/// Most layers of the image.
const LAYERS: usize = 8;

/// The core's clock, which needs its overdrive and five wait states; the HAL sets both.
const MEGAHERTZ: u32 = 180;

#[entry]
fn main() -> ! {
    static mut MEMORY: Arena<{ 8 * 1024 }> = Arena([0; _]);
    let (Some(board), Some(mut core)) = (pac::Peripherals::take(), cortex_m::Peripherals::take()) else { stop() };

    let mut rcc = board.RCC.freeze(Config::hsi().sysclk(MEGAHERTZ.MHz()));
    let pins = board.GPIOA.split(&mut rcc);
    let mut lit = pins.pa5.into_push_pull_output();
    let settings = serial::Config::default().baudrate(115_200.bps());
    let Ok(port) = board.USART2.serial((pins.pa2, pins.pa3), settings, &mut rcc) else { stop() };
    let (mut out, mut input) = port.split();

    core.DCB.enable_trace();
    core.DWT.enable_cycle_counter();

    let Ok(image) = Image::open(include_image!("../../model/lenet5.rlq")) else { stop() };
    let Ok(mut engine) = Engine::<LAYERS>::new(&image, &mut MEMORY.0, KERNELS) else { stop() };
    // A port that is not listened to stops nothing.
    let tested = engine.self_test() == Some(true);
    let _ = writeln!(out, "self-test {}\r", if tested { "passed" } else { "failed" });

    loop {
        for code in engine.input_mut() {
            // Of a broken byte, and of one that came while nobody read, the next takes the place.
            *code = loop {
                if let Ok(byte) = block!(input.read()) {
                    break byte;
                }
            };
        }
        lit.set_high();
        let begin = DWT::cycle_count();
        // With interrupts off, so that the count is the engine's alone.
        cortex_m::interrupt::free(|_| engine.run(&mut ()));
        let cycles = DWT::cycle_count().wrapping_sub(begin);
        lit.set_low();
        let _ = writeln!(out, "class {}  {cycles} cycles  {} us\r", engine.top1(), cycles / MEGAHERTZ);
    }
}

/// Where there is nothing left to say and no port to say it on.
fn stop() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
