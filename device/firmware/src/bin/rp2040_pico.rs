//! Runner of the Raspberry Pi Pico: one Cortex-M0+ at 125 MHz of the board's crystal.
#![no_std]
#![no_main]

use releq_firmware::{Wiring, cortex_m};
use rp2040_hal::clocks::{Clock, init_clocks_and_plls};
use rp2040_hal::gpio::{FunctionSio, FunctionUart, Pin, Pins, PullDown, PullUp, SioOutput, bank0};
use rp2040_hal::uart::{Enabled, UartConfig, UartPeripheral};
use rp2040_hal::{Sio, Watchdog, pac};

releq_firmware::wired!(RP2040_PICO, set_up);

/// Sets up the bus of the Pico's flash, a Winbond W25Q16JV, before the vectors are read.
#[used]
#[unsafe(link_section = ".boot2")]
static SECOND_STAGE: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The board's crystal, in hertz.
const CRYSTAL: u32 = 12_000_000;

type Trigger = Pin<bank0::Gpio2, FunctionSio<SioOutput>, PullDown>;
type UartPins = (Pin<bank0::Gpio0, FunctionUart, PullUp>, Pin<bank0::Gpio1, FunctionUart, PullUp>);
type Uart = UartPeripheral<Enabled, pac::UART0, UartPins>;

fn set_up(_: &mut cortex_m::Peripherals) -> Wiring<Trigger, Uart> {
    // Taken nowhere else, so they are there.
    let Some(mut chip) = pac::Peripherals::take() else { releq_firmware::fault::stop() };
    let mut watchdog = Watchdog::new(chip.WATCHDOG);
    let resets = &mut chip.RESETS;
    let clocks =
        init_clocks_and_plls(CRYSTAL, chip.XOSC, chip.CLOCKS, chip.PLL_SYS, chip.PLL_USB, resets, &mut watchdog);
    let Ok(clocks) = clocks else { panic!("the clocks cannot be set") };
    let pins = Pins::new(chip.IO_BANK0, chip.PADS_BANK0, Sio::new(chip.SIO).gpio_bank0, resets);
    // Pulled up, so that a pin with nothing at it is a line at rest.
    let uart = UartPeripheral::new(chip.UART0, (pins.gpio0.reconfigure(), pins.gpio1.reconfigure()), resets)
        .enable(UartConfig::default(), clocks.peripheral_clock.freq())
        .unwrap();
    Wiring { trigger: pins.gpio2.into_push_pull_output(), uart, hertz: clocks.system_clock.freq().to_Hz() }
}
