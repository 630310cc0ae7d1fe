//! probe-rs's chip table as this crate reads it: sectors, RAM and names, against the makers' manuals.

use insta::assert_snapshot;
use releq_probe::wire::Architecture;
use releq_probe::{Image, Kind, Memory, Plan, ProbeError};

const KIB: u32 = 1024;

fn sizes(memory: &Memory, origin: u32) -> Vec<u32> {
    memory.sectors.iter().filter(|s| s.address >= origin).map(|s| s.bytes / KIB).collect()
}

/// RM0390, table 4: four sectors of 16 KiB, one of 64, three of 128; the only chip here whose sectors differ in size.
#[test]
fn an_stm32f446_has_the_sectors_of_its_manual() {
    let memory = Memory::of("STM32F446RETx").unwrap();
    assert_eq!(memory.architecture, Architecture::Armv7EM);
    assert_eq!(sizes(&memory, 0x0800_0000), [16, 16, 16, 16, 64, 128, 128, 128]);
    assert_eq!(memory.sectors[0].address, 0x0800_0000);
    assert_eq!((memory.ram.len(), memory.ram[0].clone()), (1, 0x2000_0000..0x2002_0000));
}

/// What is programmed there stays for good: OTP of the STM32F4 (RM0390, 3.7), UICR and FICR of the nRF52.
#[test]
fn memory_that_cannot_be_undone_is_no_flash() {
    let stm = Memory::of("STM32F446RETx").unwrap();
    let nordic = Memory::of("nRF52840_xxAA").unwrap();
    for (memory, address) in [(&stm, 0x1fff_7800), (&stm, 0x1fff_c000), (&nordic, 0x1000_1000), (&nordic, 0x1000_0000)]
    {
        let refused = Plan::of(memory, &Image::bin(address, &[0]).unwrap());
        assert!(matches!(refused, Err(ProbeError::NotFlash { .. })), "{} 0x{address:08x}", memory.chip);
    }
}

#[test]
fn boards_of_the_design_have_flash_ram_and_a_core() {
    let chips = [
        ("STM32H743ZITx", Architecture::Armv7EM, 0x0800_0000, 128 * KIB, 2048 * KIB),
        ("STM32L4R5ZITx", Architecture::Armv7EM, 0x0800_0000, 4 * KIB, 2048 * KIB),
        ("nRF52840_xxAA", Architecture::Armv7EM, 0, 4 * KIB, 1024 * KIB),
        ("nRF52833_xxAA", Architecture::Armv7EM, 0, 4 * KIB, 512 * KIB),
        ("RP2040", Architecture::Armv6M, 0x1000_0000, 4 * KIB, 2048 * KIB),
        ("RP235x", Architecture::Armv8M, 0x1000_0000, 4 * KIB, 4096 * KIB),
    ];
    for (chip, architecture, origin, sector, flash) in chips {
        let memory = Memory::of(chip).unwrap_or_else(|error| panic!("{chip}: {error}"));
        assert_eq!(memory.architecture, architecture, "{chip}");
        let first = memory.sectors.iter().find(|s| s.address == origin).unwrap_or_else(|| panic!("{chip}: no flash"));
        assert_eq!(first.bytes, sector, "{chip}");
        let run: u64 = memory
            .sectors
            .iter()
            .filter(|s| s.address >= origin && s.address < origin + 0x0200_0000)
            .map(|s| u64::from(s.bytes))
            .sum();
        assert!(run >= u64::from(flash), "{chip}: {run} bytes of flash");
        assert!(memory.ram.iter().any(|ram| ram.start == 0x2000_0000), "{chip}");
        let apart = memory.sectors.windows(2).all(|pair| pair[0].end() <= u64::from(pair[1].address));
        assert!(apart, "{chip}: sectors over each other");
    }
}

#[test]
fn a_name_may_be_short_if_one_chip_fits() {
    assert_eq!(Memory::of("nrf52840").unwrap().chip, "nRF52840_xxAA");
}

#[test]
fn wrong_names_say_what_begins_alike() {
    let error = |chip| Memory::of(chip).unwrap_err();
    assert!(matches!(error("STM32F446ZZ"), ProbeError::UnknownChip { .. }));
    assert_eq!(error("STM32F446ZZ").kind(), Kind::Request);
    assert_snapshot!(error("STM32F446ZZ"));
    assert_snapshot!(error("toaster"));
    assert_snapshot!(error("STM32F4"));
    assert_snapshot!(error("RP235x_riscv"));
}

/// Dry runs need no board: a model beside a runner on a Nucleo-F446RE.
#[test]
fn a_plan_needs_no_board() {
    let memory = Memory::of("STM32F446RETx").unwrap();
    let model = Image::bin(0x0800_c000, &vec![0; 100 * 1024]).unwrap();
    assert_snapshot!(Plan::of(&memory, &model).unwrap());
    let outside = Image::bin(0x0807_ff00, &[0; 512]).unwrap();
    assert_snapshot!(Plan::of(&memory, &outside).unwrap_err());
}
