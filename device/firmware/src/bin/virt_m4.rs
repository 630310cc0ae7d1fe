//! Runner of the emulated Cortex-M4F board.
#![no_std]
#![no_main]

releq_firmware::runner!(VIRT_M4);
