//! The boards: one table for the firmware's linker scripts, the emulator's arguments and the host's fit check.
//!
//! The virtual boards are machines of QEMU's `mps2` family (Arm application notes AN385, AN386, AN500, AN505), whose
//! memories are larger than those of most products: they are for measuring, and a product's budget is checked apart.

use releq_format::graph::KernelHint;

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
    /// Bytes of the runner's arena, in `data`.
    pub arena_bytes: usize,
    /// QEMU's name of the machine.
    pub qemu_machine: &'static str,
    /// Address of a 32-bit CMSDK timer (Arm DDI 0479, §4.4), the instruction clock.
    pub timer: u32,
    /// Nanoseconds of one timer tick; below [`INSTRUCTION_NS`], so that each instruction has its own tick.
    pub tick_ns: u32,
}

/// Most layers of an image that runner firmware takes.
pub const MAX_LAYERS: usize = 128;

/// QEMU's `-icount shift`: one instruction takes 2^6 ns of virtual time.
///
/// The smallest shift at which every instruction of every board has a timer tick of its own; larger ones only make the
/// 32-bit timers wrap sooner.
pub const ICOUNT_SHIFT: u32 = 6;

/// Virtual nanoseconds of one instruction.
pub const INSTRUCTION_NS: u32 = 1 << ICOUNT_SHIFT;

const MIB: u32 = 1 << 20;

/// What every virtual board has in common.
const VIRTUAL: Board = Board {
    name: "",
    core: "",
    about: "",
    target: "",
    family: KernelHint::DSP,
    code: Memory { origin: 0x0000_0000, length: 4 * MIB },
    data: Memory { origin: 0x2000_0000, length: 4 * MIB },
    model: Memory { origin: 0x2100_0000, length: 4 * MIB },
    arena_bytes: MIB as usize,
    qemu_machine: "",
    timer: 0x4000_0000,
    tick_ns: 40,
};

/// Every board.
pub const ALL: &[Board] = &[VIRT_M3, VIRT_M4, VIRT_M7, VIRT_M33];

/// A Cortex-M3: what the portable kernels cost without DSP instructions.
pub const VIRT_M3: Board = Board {
    name: "virt-m3",
    core: "Cortex-M3",
    about: "emulated MPS2 AN385: no DSP instructions, no FPU",
    target: "thumbv7m-none-eabi",
    family: KernelHint::PACKED,
    qemu_machine: "mps2-an385",
    ..VIRTUAL
};

/// A Cortex-M4F, the usual target.
pub const VIRT_M4: Board = Board {
    name: "virt-m4",
    core: "Cortex-M4F",
    about: "emulated MPS2 AN386: DSP instructions, single-precision FPU",
    target: "thumbv7em-none-eabihf",
    qemu_machine: "mps2-an386",
    ..VIRTUAL
};

/// A Cortex-M7.
pub const VIRT_M7: Board = Board {
    name: "virt-m7",
    core: "Cortex-M7",
    about: "emulated MPS2 AN500: DSP instructions, FPU; instruction counts say nothing of its dual issue",
    target: "thumbv7em-none-eabihf",
    qemu_machine: "mps2-an500",
    // The AN500 map has its PSRAM here (QEMU hw/arm/mps2.c, `psram_base`).
    model: Memory { origin: 0x6000_0000, length: 4 * MIB },
    ..VIRTUAL
};

/// A Cortex-M33.
pub const VIRT_M33: Board = Board {
    name: "virt-m33",
    core: "Cortex-M33",
    about: "emulated MPS2 AN505, secure world: Armv8-M with DSP instructions and FPU",
    target: "thumbv8m.main-none-eabihf",
    qemu_machine: "mps2-an505",
    // Secure aliases (QEMU hw/arm/mps2-tz.c, `an505_raminfo`; hw/arm/armsse.c for the timer). 20 MHz system clock.
    code: Memory { origin: 0x1000_0000, length: 4 * MIB },
    data: Memory { origin: 0x3800_0000, length: 4 * MIB },
    model: Memory { origin: 0x8000_0000, length: 4 * MIB },
    timer: 0x5000_0000,
    tick_ns: 50,
    ..VIRTUAL
};

impl Board {
    /// The board of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|board| board.name == name)
    }

    /// Instructions since the timer's start after `ticks` of it, modulo the timer's range.
    ///
    /// Exact: an instruction takes longer than a tick, so each tick value is reached during one instruction at most.
    /// The timer must have been started from 0.
    pub const fn instructions(&self, ticks: u32) -> u32 {
        (ticks as u64 * self.tick_ns as u64).div_ceil(INSTRUCTION_NS as u64) as u32
    }

    /// Instructions between two tick values, at most one wrap of the timer apart (2.6e9 instructions).
    pub const fn instructions_between(&self, begin: u32, end: u32) -> u32 {
        let (begin_count, end_count) = (self.instructions(begin), self.instructions(end));
        if begin <= end {
            return end_count.wrapping_sub(begin_count);
        }
        // 2^32 ticks are a whole number of instructions, as the test below holds.
        let range = ((1u64 << 32) * self.tick_ns as u64 / INSTRUCTION_NS as u64) as u32;
        end_count.wrapping_add(range).wrapping_sub(begin_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(board.arena_bytes <= board.data.length as usize / 2, "room for the stack and the tables");
        }
    }

    #[test]
    fn every_instruction_has_its_tick() {
        for board in ALL {
            assert!(board.tick_ns < INSTRUCTION_NS);
            assert_eq!((1u64 << 32) * u64::from(board.tick_ns) % u64::from(INSTRUCTION_NS), 0);
            for count in (0..1000).chain(2_000_000_000..2_000_001_000) {
                let ticks = (u64::from(count) * u64::from(INSTRUCTION_NS) / u64::from(board.tick_ns)) as u32;
                assert_eq!(board.instructions(ticks), count, "{}", board.name);
            }
        }
    }

    #[test]
    fn a_wrap_of_the_timer_is_bridged() {
        let board = Board::by_name("virt-m4").unwrap();
        assert_eq!(board.instructions_between(0, 16), 10);
        // 1.6 ticks an instruction: 16 ticks before the wrap to 16 after it.
        assert_eq!(board.instructions_between(u32::MAX - 15, 16), 20);
    }
}
