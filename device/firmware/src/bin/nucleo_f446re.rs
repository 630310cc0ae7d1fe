//! Runner of the NUCLEO-F446RE: 180 MHz of the chip's own oscillator, its flash accelerator on.
#![no_std]
#![no_main]

use embassy_stm32::Config;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::mode::Blocking;
use embassy_stm32::pac::FLASH;
use embassy_stm32::rcc::{APBPrescaler, Pll, PllMul, PllPDiv, PllPreDiv, Sysclk, clocks};
use embassy_stm32::usart::Uart;
use releq_firmware::cortex_m::Peripherals;
use releq_firmware::{Wiring, uart};

releq_firmware::wired!(NUCLEO_F446RE, set_up);

/// 16 MHz / 8 * 180 / 2, and at most 45 and 90 MHz for the slow and the fast peripheral bus (RM0390 §6.1.3).
fn set_up(_: &mut Peripherals) -> Wiring<Output<'static>, Uart<'static, Blocking>> {
    let mut config = Config::default();
    config.rcc.pll =
        Some(Pll { prediv: PllPreDiv::DIV8, mul: PllMul::MUL180, divp: Some(PllPDiv::DIV2), divq: None, divr: None });
    config.rcc.apb1_pre = APBPrescaler::DIV4;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.sys = Sysclk::PLL1_P;
    let chip = embassy_stm32::init(config);
    // `init` writes the wait states over the whole register.
    FLASH.acr().modify(|access| {
        access.set_prften(true);
        access.set_icen(true);
        access.set_dcen(true);
    });
    let hertz = clocks(&chip.RCC).sys.to_hertz().map_or(0, |clock| clock.0);
    let uart = Uart::new_blocking(chip.USART2, chip.PA3, chip.PA2, uart::stm32()).unwrap();
    Wiring { trigger: Output::new(chip.PA8, Level::Low, Speed::VeryHigh), uart, hertz }
}
