//! Runner of the nRF52840-DK: 64 MHz of the board's crystal, the flash's cache on.
#![no_std]
#![no_main]

use nrf52840_hal::Clocks;
use nrf52840_hal::clocks::HFCLK_FREQ;
use nrf52840_hal::gpio::{Level, Output, Pin, PushPull, p0, p1};
use nrf52840_hal::pac;
use releq_firmware::uart::Nordic;
use releq_firmware::{Wiring, cortex_m};

releq_firmware::wired!(NRF52840_DK, set_up);

fn set_up(_: &mut cortex_m::Peripherals) -> Wiring<Pin<Output<PushPull>>, Nordic> {
    // Taken nowhere else, so they are there.
    let Some(chip) = pac::Peripherals::take() else { releq_firmware::fault::stop() };
    // The crystal runs until it is told to stop, so nothing is to be kept.
    let _ = Clocks::new(chip.CLOCK).enable_ext_hfosc();
    chip.NVMC.icachecnf.write(|cache| cache.cacheen().enabled());
    let trigger = p1::Parts::new(chip.P1).p1_01.into_push_pull_output(Level::Low);
    let pins = p0::Parts::new(chip.P0);
    let (transmit, receive) = (pins.p0_06.into_push_pull_output(Level::High), pins.p0_08.into_pullup_input());
    let uart = Nordic::start(chip.UART0, transmit.degrade(), receive.degrade());
    Wiring { trigger: trigger.degrade(), uart, hertz: HFCLK_FREQ }
}
