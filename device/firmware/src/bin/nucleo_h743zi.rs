//! Runner of the NUCLEO-H743ZI: 400 MHz of the chip's own oscillator, both caches on, data in DTCM.
#![no_std]
#![no_main]

use embassy_stm32::Config;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::mode::Blocking;
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale, clocks,
};
use embassy_stm32::usart::Uart;
use releq_firmware::cortex_m::Peripherals;
use releq_firmware::{Wiring, uart};

releq_firmware::wired!(NUCLEO_H743ZI, set_up);

/// 64 MHz / 4 * 50 / 2; 200 MHz for the buses and 100 for the peripherals. 480 MHz wants a revision V chip.
fn set_up(core: &mut Peripherals) -> Wiring<Output<'static>, Uart<'static, Blocking>> {
    let mut config = Config::default();
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.sys = Sysclk::PLL1_P;
    let chip = embassy_stm32::init(config);
    core.SCB.enable_icache();
    core.SCB.enable_dcache(&mut core.CPUID);
    let hertz = clocks(&chip.RCC).sys.to_hertz().map_or(0, |clock| clock.0);
    let uart = Uart::new_blocking(chip.USART3, chip.PD9, chip.PD8, uart::stm32()).unwrap();
    Wiring { trigger: Output::new(chip.PF15, Level::Low, Speed::VeryHigh), uart, hertz }
}
