//! What an STM32's UART is set to.

use embassy_stm32::gpio::Pull;
use embassy_stm32::usart::Config;

/// The rate and the format are the crate's own; the receiving pin is pulled up, for with nobody at it a floating one
/// hears noise.
pub fn stm32() -> Config {
    let mut config = Config::default();
    config.rx_pull = Pull::Up;
    config
}
