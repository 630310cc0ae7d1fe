//! The boards: one table for the firmware's linker scripts, the emulator's arguments and the host's fit check.
//!
//! The virtual boards are emulated by QEMU and run in the tests: machines of its `mps2` family (Arm application notes
//! AN385, AN386, AN500, AN505), whose memories are larger than those of most products, and its `microbit`, whose
//! memories are smaller. The others are boards to buy; [`Board::ran`] says whether anybody has run their runner yet.

use releq_format::graph::KernelHint;
use releq_format::wire::Unit;

/// A stretch of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// First address.
    pub origin: u32,
    /// Bytes.
    pub length: u32,
}

/// A board that can run the runner firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// What users call it.
    pub name: &'static str,
    /// The processor, as its maker writes it.
    pub core: &'static str,
    /// What it is, in a phrase.
    pub about: &'static str,
    /// Rust target that the firmware is built for.
    pub target: &'static str,
    /// The fastest family of kernels that its core runs.
    pub family: KernelHint,
    /// Where the firmware's code lies.
    pub code: Memory,
    /// Where its data, arena and stack lie.
    pub data: Memory,
    /// Where the host puts the image; apart from `code` and `data`.
    pub model: Memory,
    /// How that is written.
    pub model_writing: Writing,
    /// Bytes of the runner's arena, in `data`.
    pub arena_bytes: usize,
    /// Most layers of an image that the runner takes.
    pub max_layers: usize,
    /// What its chip wants to find in front of the code.
    pub boot: Boot,
    /// What the core runs at.
    pub clock: CoreClock,
    /// What the runner measures time with.
    pub counter: Counter,
    /// How the host gets at it.
    pub reach: Reach,
    /// Which UART the runner listens at beside its other port, and its pins, the one it sends on first; none if it has
    /// none.
    pub uart: Option<&'static str>,
    /// Whether the runner has ever run. False means that it builds and that nobody has tried it.
    pub ran: bool,
}

/// How the host writes the model region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// It is RAM: by the runner, over the protocol, or by the emulator before the core starts.
    Ram,
    /// It is flash that only the emulator writes, before the core starts.
    Loader,
    /// By a flash programmer, which erases whole sectors.
    Flash {
        /// Bytes of a sector, which all of the model region's are.
        sector: u32,
    },
}

/// What a chip's boot ROM wants besides the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// Nothing: the core starts at the vectors.
    Vectors,
    /// 256 bytes in front of the code that set up the flash's bus (RP2040 datasheet, §2.8.1.3).
    SecondStage,
    /// A block that says what the image is, after the vectors (RP2350 datasheet, §5.9.5).
    ImageDefinition,
}

/// What a core runs at, once the runner has set its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreClock {
    /// Cycles a second.
    pub hertz: u32,
    /// Most cycles that the core waits for flash; none where the flash is behind a serial bus and a miss takes
    /// dozens.
    pub wait_states: Option<u8>,
    /// Caches and prefetch between the core and its flash, all of them on.
    pub caches: &'static str,
}

/// What a runner counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Instructions, exactly, where the emulator's time passes per instruction.
    Timer(InstructionTimer),
    /// Cycles by the core's CYCCNT (Armv7-M manual, §C1.8.8); 32 bits. Where that does not move, by SysTick.
    Dwt,
    /// Cycles by SysTick at the core's clock, whose wraps (24 bits) an exception counts.
    SysTick,
}

/// A 32-bit timer of an emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionTimer {
    /// Its registers.
    pub kind: TimerKind,
    /// Their first address.
    pub address: u32,
    /// Ticks a second; more than [`INSTRUCTIONS_PER_SECOND`], so that each instruction has a tick of its own.
    pub hertz: u32,
}

/// Makes of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Arm's APB timer (Arm DDI 0479, §4.4), free running.
    Cmsdk,
    /// Nordic's TIMER (nRF51 reference manual 3.0, §18), which the runner restarts at each reading: QEMU rounds each
    /// of its ticks, and the rounding of one interval is none, that of many is.
    Nordic,
}

/// How a host gets at a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// QEMU emulates it.
    Qemu {
        /// QEMU's name of the machine.
        machine: &'static str,
    },
    /// A debug probe is wired to it.
    Probe {
        /// The name of the chip in probe-rs (as of 0.32, whose memory maps agree with this table).
        chip: &'static str,
    },
}

/// Most layers of an image that runner firmware takes, where memory allows.
pub const MAX_LAYERS: usize = 128;

/// QEMU's `-icount shift`: one instruction takes 2^6 ns of virtual time.
///
/// The smallest shift at which every instruction of every board has a timer tick of its own; larger ones only make the
/// 32-bit timers wrap sooner.
pub const ICOUNT_SHIFT: u32 = 6;

/// Bits a second of every runner's UART: 8 bits a byte, no parity, one stop bit, no handshake.
///
/// Ten bits a byte are 87 µs, which is what a runner has to fetch each from a UART without a queue.
pub const BAUD: u32 = 115_200;

/// Instructions in a second of virtual time.
pub const INSTRUCTIONS_PER_SECOND: u32 = 1_000_000_000 >> ICOUNT_SHIFT;

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

const fn memory(origin: u32, length: u32) -> Memory {
    Memory { origin, length }
}

/// What the emulated boards of Arm's application notes have in common.
const MPS2: Board = Board {
    name: "",
    core: "",
    about: "",
    target: "",
    family: KernelHint::DSP,
    code: memory(0x0000_0000, 4 * MIB),
    data: memory(0x2000_0000, 4 * MIB),
    model: memory(0x2100_0000, 4 * MIB),
    model_writing: Writing::Ram,
    arena_bytes: MIB as usize,
    max_layers: MAX_LAYERS,
    boot: Boot::Vectors,
    clock: CoreClock { hertz: 25_000_000, wait_states: Some(0), caches: "none" },
    counter: cmsdk(0x4000_0000, 25_000_000),
    reach: Reach::Qemu { machine: "" },
    uart: None,
    ran: true,
};

const fn cmsdk(address: u32, hertz: u32) -> Counter {
    Counter::Timer(InstructionTimer { kind: TimerKind::Cmsdk, address, hertz })
}

/// Every board.
pub const ALL: &[Board] = &[
    VIRT_M0,
    VIRT_M3,
    VIRT_M4,
    VIRT_M7,
    VIRT_M33,
    NUCLEO_F446RE,
    NUCLEO_H743ZI,
    NUCLEO_L4R5ZI,
    NRF52840_DK,
    RP2350_PICO2,
    RP2040_PICO,
];

/// The boards that QEMU emulates.
pub fn emulated() -> impl Iterator<Item = &'static Board> {
    ALL.iter().filter(|board| matches!(board.reach, Reach::Qemu { .. }))
}

/// A Cortex-M0: the smallest core, no 32-bit Thumb instructions, in the smallest memory.
pub const VIRT_M0: Board = Board {
    name: "virt-m0",
    core: "Cortex-M0",
    about: "emulated BBC micro:bit (nRF51822): 16 KiB of RAM, no DSP instructions, no division, no FPU",
    target: "thumbv6m-none-eabi",
    family: KernelHint::PACKED,
    // One flash of 256 KiB (QEMU hw/arm/nrf51_soc.c), halved.
    code: memory(0x0000_0000, 128 * KIB),
    data: memory(0x2000_0000, 16 * KIB),
    model: memory(0x0002_0000, 128 * KIB),
    model_writing: Writing::Loader,
    arena_bytes: 6 * KIB as usize,
    max_layers: 16,
    clock: CoreClock { hertz: 16_000_000, wait_states: Some(0), caches: "none" },
    // TIMER0, the one of 32 bits.
    counter: Counter::Timer(InstructionTimer { kind: TimerKind::Nordic, address: 0x4000_8000, hertz: 16_000_000 }),
    reach: Reach::Qemu { machine: "microbit" },
    ..MPS2
};

/// A Cortex-M3: what the portable kernels cost without DSP instructions.
pub const VIRT_M3: Board = Board {
    name: "virt-m3",
    core: "Cortex-M3",
    about: "emulated MPS2 AN385: no DSP instructions, no FPU",
    target: "thumbv7m-none-eabi",
    family: KernelHint::PACKED,
    reach: Reach::Qemu { machine: "mps2-an385" },
    ..MPS2
};

/// A Cortex-M4F, the usual target.
pub const VIRT_M4: Board = Board {
    name: "virt-m4",
    core: "Cortex-M4F",
    about: "emulated MPS2 AN386: DSP instructions, single-precision FPU",
    target: "thumbv7em-none-eabihf",
    reach: Reach::Qemu { machine: "mps2-an386" },
    ..MPS2
};

/// A Cortex-M7.
pub const VIRT_M7: Board = Board {
    name: "virt-m7",
    core: "Cortex-M7",
    about: "emulated MPS2 AN500: DSP instructions, FPU; instruction counts say nothing of its dual issue",
    target: "thumbv7em-none-eabihf",
    // The AN500 map has its PSRAM here (QEMU hw/arm/mps2.c, `psram_base`).
    model: memory(0x6000_0000, 4 * MIB),
    reach: Reach::Qemu { machine: "mps2-an500" },
    ..MPS2
};

/// A Cortex-M33.
pub const VIRT_M33: Board = Board {
    name: "virt-m33",
    core: "Cortex-M33",
    about: "emulated MPS2 AN505, secure world: Armv8-M with DSP instructions and FPU",
    target: "thumbv8m.main-none-eabihf",
    // Secure aliases (QEMU hw/arm/mps2-tz.c, `an505_raminfo`; hw/arm/armsse.c for the timer). 20 MHz system clock.
    code: memory(0x1000_0000, 4 * MIB),
    data: memory(0x3800_0000, 4 * MIB),
    model: memory(0x8000_0000, 4 * MIB),
    clock: CoreClock { hertz: 20_000_000, ..MPS2.clock },
    counter: cmsdk(0x5000_0000, 20_000_000),
    reach: Reach::Qemu { machine: "mps2-an505" },
    ..MPS2
};

/// What the boards with a debug probe have in common.
const WIRED: Board = Board { counter: Counter::Dwt, reach: Reach::Probe { chip: "" }, ran: false, ..MPS2 };

/// STM32F446: the usual Cortex-M4F of the literature (RM0390).
pub const NUCLEO_F446RE: Board = Board {
    name: "nucleo-f446re",
    core: "Cortex-M4F",
    about: "ST NUCLEO-F446RE: STM32F446RE at 180 MHz of its own oscillator; trigger on PA8 (Arduino D7)",
    target: "thumbv7em-none-eabihf",
    // Sectors 0 to 5 (RM0390 table 4: four of 16 KiB, one of 64, one of 128), then 6 and 7.
    code: memory(0x0800_0000, 256 * KIB),
    model: memory(0x0804_0000, 256 * KIB),
    model_writing: Writing::Flash { sector: 128 * KIB },
    data: memory(0x2000_0000, 128 * KIB),
    arena_bytes: 88 * KIB as usize,
    // RM0390 §3.4: 5 wait states above 150 MHz at 2.7 to 3.6 V; "ART accelerator".
    clock: CoreClock {
        hertz: 180_000_000,
        wait_states: Some(5),
        caches: "prefetch, 1 KiB of instructions and 128 B of data in front of the flash",
    },
    reach: Reach::Probe { chip: "STM32F446RETx" },
    // UM1724, "USART communication": as delivered, SB13 and SB14 closed.
    uart: Some("USART2, PA2 and PA3, the ST-LINK's serial port"),
    ..WIRED
};

/// STM32H743: a Cortex-M7 with caches (RM0433).
pub const NUCLEO_H743ZI: Board = Board {
    name: "nucleo-h743zi",
    core: "Cortex-M7",
    about: "ST NUCLEO-H743ZI: STM32H743ZI at 400 MHz of its own oscillator; trigger on PF15 (Arduino D2)",
    target: "thumbv7em-none-eabihf",
    // Sectors of 128 KiB: two of bank 1, and all of bank 2 (RM0433 table 15).
    code: memory(0x0800_0000, 256 * KIB),
    model: memory(0x0810_0000, MIB),
    model_writing: Writing::Flash { sector: 128 * KIB },
    // DTCM: no wait states, and no cache between the probe and RTT's buffers.
    data: memory(0x2000_0000, 128 * KIB),
    arena_bytes: 88 * KIB as usize,
    // RM0433 table 17: 2 wait states at 185 to 210 MHz of AXI in VOS1.
    clock: CoreClock {
        hertz: 400_000_000,
        wait_states: Some(2),
        caches: "16 KiB of instructions, 16 KiB of data; wait states are cycles of the 200 MHz bus",
    },
    reach: Reach::Probe { chip: "STM32H743ZITx" },
    // UM1974, "USART communication": as delivered, SB5 and SB6 closed.
    uart: Some("USART3, PD8 and PD9, the ST-LINK's serial port"),
    ..WIRED
};

/// STM32L4R5: the board of the MLPerf Tiny reference results (RM0432).
pub const NUCLEO_L4R5ZI: Board = Board {
    name: "nucleo-l4r5zi",
    core: "Cortex-M4F",
    about: "ST NUCLEO-L4R5ZI: STM32L4R5ZI at 80 MHz, not the 120 of its boost mode; trigger on PF13 (Arduino D7)",
    target: "thumbv7em-none-eabihf",
    code: memory(0x0800_0000, 256 * KIB),
    model: memory(0x0810_0000, MIB),
    // Of 4 KiB in the two banks that it is delivered with, 8 where option byte DBANK was cleared (RM0432 §3.3.1).
    model_writing: Writing::Flash { sector: 8 * KIB },
    // SRAM1, SRAM2's second address and SRAM3, which join (RM0432 §2.2.2).
    data: memory(0x2000_0000, 640 * KIB),
    arena_bytes: 512 * KIB as usize,
    clock: CoreClock {
        hertz: 80_000_000,
        wait_states: Some(4),
        caches: "prefetch, 1 KiB of instructions and 256 B of data in front of the flash",
    },
    reach: Reach::Probe { chip: "STM32L4R5ZITx" },
    // UM2179, "LPUART1 communication". Port G has a supply of its own, which is to be switched on (RM0432 §5.1.2).
    uart: Some("LPUART1, PG7 and PG8, the ST-LINK's serial port"),
    ..WIRED
};

/// nRF52840 (product specification 1.7).
pub const NRF52840_DK: Board = Board {
    name: "nrf52840-dk",
    core: "Cortex-M4F",
    about: "Nordic nRF52840-DK: nRF52840 at 64 MHz of its crystal; trigger on P1.01 (Arduino D0)",
    target: "thumbv7em-none-eabihf",
    code: memory(0x0000_0000, 256 * KIB),
    model: memory(0x0004_0000, 768 * KIB),
    model_writing: Writing::Flash { sector: 4 * KIB },
    data: memory(0x2000_0000, 256 * KIB),
    arena_bytes: 192 * KIB as usize,
    // §4.1.1: 0 to 2 with its cache off, 0 to 3 with it on.
    clock: CoreClock { hertz: 64_000_000, wait_states: Some(3), caches: "2 KiB of instructions in front of the flash" },
    reach: Reach::Probe { chip: "nRF52840_xxAA" },
    // nRF52840 DK hardware, "Virtual serial port"; its probe listens while a terminal holds DTR.
    uart: Some("UART0, P0.06 and P0.08, the J-Link's serial port"),
    ..WIRED
};

/// RP2350, of which one Cortex-M33 is used.
pub const RP2350_PICO2: Board = Board {
    name: "rp2350-pico2",
    core: "Cortex-M33",
    about: "Raspberry Pi Pico 2: RP2350 at 150 MHz of its crystal, code and weights from serial flash; trigger on GPIO 2",
    target: "thumbv8m.main-none-eabihf",
    code: memory(0x1000_0000, 256 * KIB),
    model: memory(0x1004_0000, 4 * MIB - 256 * KIB),
    model_writing: Writing::Flash { sector: 4 * KIB },
    // SRAM0 to 7, striped; 8 and 9 are left out (RP2350 datasheet, §2.2.3).
    data: memory(0x2000_0000, 512 * KIB),
    arena_bytes: 384 * KIB as usize,
    boot: Boot::ImageDefinition,
    clock: CoreClock {
        hertz: 150_000_000,
        wait_states: None,
        caches: "16 KiB of instructions and data in front of the flash",
    },
    reach: Reach::Probe { chip: "RP235x" },
    // RP2350 datasheet, §9.4: function 2 of these pins.
    uart: Some("UART0, GPIO 0 and GPIO 1, to a Debug Probe or an adapter of 3.3 V"),
    ..WIRED
};

/// RP2040, of which one Cortex-M0+ is used.
pub const RP2040_PICO: Board = Board {
    name: "rp2040-pico",
    core: "Cortex-M0+",
    about: "Raspberry Pi Pico: RP2040 at 125 MHz of its crystal, code and weights from serial flash; trigger on GPIO 2",
    target: "thumbv6m-none-eabi",
    family: KernelHint::PACKED,
    code: memory(0x1000_0000, 256 * KIB),
    model: memory(0x1004_0000, 2 * MIB - 256 * KIB),
    model_writing: Writing::Flash { sector: 4 * KIB },
    // SRAM0 to 3, striped; 4 and 5 are left out (RP2040 datasheet, §2.6.2).
    data: memory(0x2000_0000, 256 * KIB),
    arena_bytes: 192 * KIB as usize,
    boot: Boot::SecondStage,
    clock: CoreClock {
        hertz: 125_000_000,
        wait_states: None,
        caches: "16 KiB of instructions and data in front of the flash",
    },
    counter: Counter::SysTick,
    reach: Reach::Probe { chip: "RP2040" },
    // RP2040 datasheet, §2.19.2: function 2 of these pins.
    uart: Some("UART0, GPIO 0 and GPIO 1, to a Debug Probe or an adapter of 3.3 V"),
    ..WIRED
};

impl Board {
    /// The board of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|board| board.name == name)
    }
}

impl Counter {
    /// What it counts.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Timer(_) => Unit::Instructions,
            Self::Dwt | Self::SysTick => Unit::Cycles,
        }
    }
}

impl InstructionTimer {
    /// The address that the runner's clock reads, once a reading.
    pub const fn value_address(&self) -> u32 {
        match self.kind {
            // VALUE (Arm DDI 0479, table 4-7).
            TimerKind::Cmsdk => self.address + 0x004,
            // CC[0] (nRF51 reference manual 3.0, table 142).
            TimerKind::Nordic => self.address + 0x540,
        }
    }

    /// Instructions since the timer's start after `ticks` of it, modulo the timer's range.
    ///
    /// Exact: an instruction takes longer than a tick, so each tick value is reached during one instruction at most.
    /// The timer must have been started from 0.
    pub const fn instructions(&self, ticks: u32) -> u32 {
        (ticks as u64 * INSTRUCTIONS_PER_SECOND as u64).div_ceil(self.hertz as u64) as u32
    }

    /// Instructions between two tick values, at most one wrap of the timer apart (2.6e9 instructions or more).
    pub const fn instructions_between(&self, begin: u32, end: u32) -> u32 {
        let (begin_count, end_count) = (self.instructions(begin), self.instructions(end));
        if begin <= end {
            return end_count.wrapping_sub(begin_count);
        }
        // 2^32 ticks are a whole number of instructions, as the test below holds.
        let range = ((1u64 << 32) * INSTRUCTIONS_PER_SECOND as u64 / self.hertz as u64) as u32;
        end_count.wrapping_add(range).wrapping_sub(begin_count)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn timers() -> impl Iterator<Item = (&'static str, InstructionTimer)> {
        ALL.iter().filter_map(|board| match board.counter {
            Counter::Timer(timer) => Some((board.name, timer)),
            Counter::Dwt | Counter::SysTick => None,
        })
    }

    #[test]
    fn names_are_unique_and_found() {
        for board in ALL {
            assert_eq!(Board::by_name(board.name), Some(board));
        }
        assert_eq!(Board::by_name("virt-m9"), None);
    }

    #[test]
    fn memories_are_apart_and_hold_the_arena() {
        let apart = |a: Memory, b: Memory| a.origin + a.length <= b.origin || b.origin + b.length <= a.origin;
        for board in ALL {
            assert!(apart(board.code, board.data) && apart(board.code, board.model) && apart(board.data, board.model));
            assert!(board.model.origin.is_multiple_of(8), "{}: images are 8-aligned", board.name);
            // Measured on virt-m0 (`releq bench` shows it): an engine's table of 64 bytes a layer lies on the stack three
            // times while a model is opened, and the rest takes 6.5 KiB.
            let stack = 3 * 64 * board.max_layers + 7 * 1024;
            assert!(board.arena_bytes + stack <= board.data.length as usize, "{}: no room for a stack", board.name);
        }
    }

    #[test]
    fn flash_regions_are_whole_sectors() {
        for board in ALL {
            let Writing::Flash { sector } = board.model_writing else { continue };
            assert!(board.model.origin.is_multiple_of(sector) && board.model.length.is_multiple_of(sector));
        }
    }

    /// What an emulator and what a probe can do is different, and each board says one of the two throughout.
    #[test]
    fn boards_are_emulated_or_wired() {
        let mut names = Vec::new();
        for board in ALL {
            let Reach::Qemu { machine } = board.reach else {
                assert_eq!((board.counter.unit(), board.name.starts_with("virt-")), (Unit::Cycles, false));
                assert!(matches!(board.model_writing, Writing::Flash { .. }), "{}", board.name);
                assert!(board.uart.is_some(), "{}", board.name);
                continue;
            };
            assert!(!machine.is_empty() && board.name.starts_with("virt-"), "{}", board.name);
            assert_eq!(board.counter.unit(), Unit::Instructions);
            assert!(matches!(board.model_writing, Writing::Ram | Writing::Loader), "{}", board.name);
            assert!(board.ran, "the tests run it");
            names.push(board.name);
        }
        assert!(emulated().map(|board| board.name).eq(names));
    }

    #[test]
    fn every_instruction_has_its_tick() {
        for (name, timer) in timers() {
            let (rate, ticks_rate) = (u64::from(INSTRUCTIONS_PER_SECOND), u64::from(timer.hertz));
            assert!(rate < ticks_rate);
            assert_eq!((1u64 << 32) * rate % ticks_rate, 0);
            for count in (0..1000).chain(2_000_000_000..2_000_001_000) {
                let ticks = (u64::from(count) * ticks_rate / rate) as u32;
                assert_eq!(timer.instructions(ticks), count, "{name}");
            }
        }
    }

    #[test]
    fn a_wrap_of_the_timer_is_bridged() {
        let (_, timer) = timers().find(|(name, _)| *name == "virt-m4").unwrap();
        assert_eq!(timer.instructions_between(0, 16), 10);
        // 1.6 ticks an instruction: 16 ticks before the wrap to 16 after it.
        assert_eq!(timer.instructions_between(u32::MAX - 15, 16), 20);
    }
}
