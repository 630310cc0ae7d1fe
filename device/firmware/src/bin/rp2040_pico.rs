//! Runner of the Raspberry Pi Pico: one Cortex-M0+ at 125 MHz of the board's crystal.
#![no_std]
#![no_main]

use releq_firmware::cortex_m;
use rp2040_hal::clocks::{Clock, init_clocks_and_plls};
use rp2040_hal::gpio::{FunctionSio, Pin, Pins, PullDown, SioOutput, bank0};
use rp2040_hal::{Sio, Watchdog, pac};

releq_firmware::wired!(RP2040_PICO, set_up);

/// Sets up the bus of the Pico's flash, a Winbond W25Q16JV, before the vectors are read.
#[used]
#[unsafe(link_section = ".boot2")]
static SECOND_STAGE: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

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
