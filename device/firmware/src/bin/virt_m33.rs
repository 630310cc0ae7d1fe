//! Runner of the emulated Cortex-M33 board.
#![no_std]
#![no_main]

releq_firmware::emulated!(VIRT_M33, Cmsdk);
