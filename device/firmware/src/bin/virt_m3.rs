//! Runner of the emulated Cortex-M3 board.
#![no_std]
#![no_main]

releq_firmware::emulated!(VIRT_M3, Cmsdk);
