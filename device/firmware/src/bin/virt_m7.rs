//! Runner of the emulated Cortex-M7 board.
#![no_std]
#![no_main]

releq_firmware::runner!(VIRT_M7);
