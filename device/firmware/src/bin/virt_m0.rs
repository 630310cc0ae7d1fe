//! Runner of the emulated Cortex-M0 board.
#![no_std]
#![no_main]

releq_firmware::emulated!(VIRT_M0, Nordic);
