//! Runner of the emulated Cortex-M4F board that serves two UARTs, as those of boards to buy serve a probe and a UART.
#![no_std]
#![no_main]

use releq_firmware::transport::{Both, Serial};
use releq_firmware::uart::Cmsdk;

releq_firmware::emulated!(VIRT_M4, Cmsdk, Both::new(Serial::new(Cmsdk::uart0()), Serial::new(Cmsdk::uart1())));
