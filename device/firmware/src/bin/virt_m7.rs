//! Runner of the emulated Cortex-M7 board.
#![no_std]
#![no_main]

releq_firmware::emulated!(VIRT_M7, Cmsdk);
