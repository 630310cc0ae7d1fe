//! Runner of the emulated Cortex-M33 board.
#![no_std]
#![no_main]

releq_firmware::runner!(VIRT_M33);
