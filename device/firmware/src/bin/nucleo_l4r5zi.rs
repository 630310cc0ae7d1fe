//! Runner of the NUCLEO-L4R5ZI: 80 MHz of the chip's own oscillator, its flash caches on as after reset.
#![no_std]
#![no_main]

use embassy_stm32::Config;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::mode::Blocking;
use embassy_stm32::rcc::{Pll, PllMul, PllPreDiv, PllRDiv, PllSource, Sysclk, clocks};
use embassy_stm32::usart::Uart;
use releq_firmware::cortex_m::Peripherals;
use releq_firmware::{Wiring, uart};

releq_firmware::wired!(NUCLEO_L4R5ZI, set_up);

/// 16 MHz / 2 * 20 / 2. The boost mode for 120 MHz is not among what the chip's crate sets.
fn set_up(_: &mut Peripherals) -> Wiring<Output<'static>, Uart<'static, Blocking>> {
    let mut config = Config::default();
    config.rcc.hsi = true;
    config.rcc.pll = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV2,
        mul: PllMul::MUL20,
        divp: None,
        divq: None,
        divr: Some(PllRDiv::DIV2),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    let chip = embassy_stm32::init(config);
    let hertz = clocks(&chip.RCC).sys.to_hertz().map_or(0, |clock| clock.0);
    let uart = Uart::new_blocking(chip.LPUART1, chip.PG8, chip.PG7, uart::stm32()).unwrap();
    Wiring { trigger: Output::new(chip.PF13, Level::Low, Speed::VeryHigh), uart, hertz }
}
