//! Runner of the emulated Cortex-M4F board.
#![no_std]
#![no_main]

releq_firmware::emulated!(VIRT_M4, Cmsdk);
