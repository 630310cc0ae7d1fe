//! Runner of the Raspberry Pi Pico 2: one Cortex-M33 at 150 MHz of the board's crystal.
#![no_std]
#![no_main]

use releq_firmware::cortex_m;
use rp235x_hal::block::ImageDef;
use rp235x_hal::clocks::{Clock, init_clocks_and_plls};
use rp235x_hal::gpio::{FunctionSio, Pin, Pins, PullDown, SioOutput, bank0};
use rp235x_hal::{Sio, Watchdog, pac};

releq_firmware::wired!(RP2350_PICO2, set_up);

/// Says that this is a program, for the secure world.
#[used]
#[unsafe(link_section = ".start_block")]
static IMAGE: ImageDef = ImageDef::secure_exe();

/// The board's crystal, in hertz.
const CRYSTAL: u32 = 12_000_000;

type Trigger = Pin<bank0::Gpio2, FunctionSio<SioOutput>, PullDown>;

fn set_up(_: &mut cortex_m::Peripherals) -> (Trigger, u32) {
    // Taken nowhere else, so they are there.
    let Some(mut chip) = pac::Peripherals::take() else { releq_firmware::fault::stop() };
    let mut watchdog = Watchdog::new(chip.WATCHDOG);
    let resets = &mut chip.RESETS;
    let clocks =
        init_clocks_and_plls(CRYSTAL, chip.XOSC, chip.CLOCKS, chip.PLL_SYS, chip.PLL_USB, resets, &mut watchdog);
    let hertz = clocks.map_or(0, |clocks| clocks.system_clock.freq().to_Hz());
    let pins = Pins::new(chip.IO_BANK0, chip.PADS_BANK0, Sio::new(chip.SIO).gpio_bank0, resets);
    (pins.gpio2.into_push_pull_output(), hertz)
}
