//! Flashing on a board made of bytes: what is erased, what is skipped, what is kept, and what goes wrong.

mod suite;

use std::fs;

use insta::assert_snapshot;
use releq_probe::mock::elf::{Section, elf, loaded};
use releq_probe::mock::{Board, Event, Fault};
use releq_probe::{Attached, Flashed, Image, Kind, Phase, Plan, ProbeError, Progress};
use suite::{FLASH, LARGE, SMALL, attach, chip, pattern, refused};

fn held(board: &mut Attached, address: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    board.read(address, &mut bytes).unwrap();
    bytes
}

fn erased(events: &[Event]) -> Vec<u32> {
    events.iter().filter_map(|event| if let Event::Erased(address) = event { Some(*address) } else { None }).collect()
}

#[test]
fn only_touched_sectors_are_erased_and_the_rest_of_them_kept() {
    let old = pattern(3 * SMALL as usize);
    let (mut board, diary) = attach(Board::new(chip()).holding(FLASH, &old));
    let new = vec![0xa5; SMALL as usize];
    let (start, end) = (SMALL as usize / 2, SMALL as usize * 3 / 2);

    let flashed = board.flash_bin(FLASH + start as u32, &new, |_| ()).unwrap();

    assert_eq!(flashed, Flashed { erased: 2, unchanged: 0, programmed: 2 * u64::from(SMALL) });
    assert_eq!(erased(&diary.events()), [FLASH, FLASH + SMALL]);
    let mut wanted = old;
    wanted[start..end].copy_from_slice(&new);
    assert_eq!(held(&mut board, FLASH, wanted.len()), wanted);
}

#[test]
fn what_flash_holds_already_is_not_touched() {
    let model = pattern(3 * SMALL as usize);
    let (mut board, diary) = attach(Board::new(chip()).holding(FLASH, &model));

    let flashed = board.flash_bin(FLASH, &model, |_| ()).unwrap();
    assert_eq!(flashed, Flashed { erased: 0, unchanged: 3, programmed: 0 });
    assert_eq!(diary.events(), [], "neither erased nor halted nor reset");

    let mut other = model;
    other[SMALL as usize + 7] ^= 1;
    let flashed = board.flash_bin(FLASH, &other, |_| ()).unwrap();
    assert_eq!(flashed, Flashed { erased: 1, unchanged: 2, programmed: u64::from(SMALL) });
    assert_eq!(erased(&diary.events()), [FLASH + SMALL]);
}

/// The end of an erased sector need not be programmed; bytes of the image are, even if they look erased.
#[test]
fn an_erased_rest_is_not_programmed() {
    let (mut board, diary) = attach(Board::new(chip()));
    board.flash_bin(FLASH + 4 * SMALL, &[1, 2, 3, 0xff, 0xff], |_| ()).unwrap();
    let programmed = Event::Programmed { address: FLASH + 4 * SMALL, bytes: 5 };
    assert_eq!(diary.events(), [Event::Erased(FLASH + 4 * SMALL), programmed]);
}

#[test]
fn sections_of_an_elf_file_go_where_they_are_loaded() {
    let (code, data) = (pattern(600), [9; 40]);
    let load = FLASH + 5 * LARGE / 4;
    let sections = [
        loaded(".text", FLASH, &code),
        loaded(".rodata", FLASH + 600, b"in the same sector"),
        Section { name: ".data", addresses: (suite::RAM, load), bytes: &data, allocated: true },
        Section { name: ".comment", addresses: (0, 0), bytes: b"rustc", allocated: false },
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("runner.elf");
    fs::write(&path, elf(&sections, None)).unwrap();
    let (mut board, diary) = attach(Board::new(chip()));

    let flashed = board.flash_elf(&path, |_| ()).unwrap();
    assert_eq!((flashed.erased, erased(&diary.events())), (2, vec![FLASH, FLASH + LARGE]));
    assert_eq!(held(&mut board, FLASH, 600), code);
    assert_eq!(held(&mut board, load, 40), data);
    assert_eq!(board.flash_elf(&path, |_| ()).unwrap().erased, 0);

    board.reset_and_run().unwrap();
    assert_eq!(diary.events().split_off(4), [Event::Reset, Event::Ran]);
}

#[test]
fn a_plan_says_what_would_be_erased_and_erases_nothing() {
    let model = pattern(2 * SMALL as usize);
    let (mut board, diary) = attach(Board::new(chip()).holding(FLASH, &model[..SMALL as usize]));
    let image = |bytes: &[u8]| Image::bin(FLASH, bytes).unwrap();

    assert_snapshot!(board.plan(&image(&model), |_| ()).unwrap());
    assert_snapshot!(board.plan(&image(&model[..SMALL as usize]), |_| ()).unwrap());
    assert_snapshot!(Plan::of(board.memory(), &image(&pattern(5000))).unwrap());
    let apart = [loaded(".text", FLASH, &[1]), loaded(".model", FLASH + 2 * SMALL, &[2])];
    assert_snapshot!(Plan::of(board.memory(), &Image::elf_bytes("a.elf", &elf(&apart, None)).unwrap()).unwrap());
    assert_eq!(diary.events(), []);
    let plan = board.plan(&image(&model), |_| ()).unwrap();
    assert_eq!(board.flash(&image(&model), |_| ()).unwrap().erased, plan.erased.len());
    assert_eq!(erased(&diary.events()), plan.erased.iter().map(|sector| sector.address).collect::<Vec<_>>());
}

#[test]
fn each_phase_goes_from_nothing_to_all() {
    let (mut board, _) = attach(Board::new(chip()));
    let mut told: Vec<Progress> = Vec::new();
    board.flash_bin(FLASH, &pattern(2500), |progress| told.push(progress)).unwrap();
    for phase in [Phase::Comparing, Phase::Programming, Phase::Verifying] {
        let done: Vec<u64> =
            told.iter().filter(|progress| progress.phase == phase).map(|progress| progress.done).collect();
        let total = if phase == Phase::Comparing { 3 * u64::from(SMALL) } else { 2500 };
        assert_eq!((done[0], done[done.len() - 1]), (0, total), "{phase:?}");
        assert!(done.len() > 3 && done.is_sorted(), "{phase:?}: {done:?}");
        assert!(told.iter().filter(|progress| progress.phase == phase).all(|progress| progress.total == total));
    }
}

#[test]
fn a_worn_cell_is_found() {
    let (mut board, _) = attach(Board::new(chip()).with(Fault::WornCell(FLASH + SMALL + 300)));
    let error = board.flash_bin(FLASH, &pattern(2500), |_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Mismatch);
    assert_snapshot!(error);
}

#[test]
fn a_probe_that_goes_half_way_leaves_a_text_that_says_where() {
    let (mut board, diary) = attach(Board::new(chip()).with(Fault::GoneAfter(1500)));
    let error = board.flash_bin(FLASH, &pattern(2500), |_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Misbehaved);
    assert_snapshot!(error);
    assert_eq!(erased(&diary.events()), [FLASH, FLASH + SMALL], "the third sector is not reached");
    assert!(matches!(board.reset_and_run(), Err(ProbeError::Gone { .. })));
}

/// The first read is that of CPUID.
#[test]
fn a_probe_that_goes_while_comparing_has_erased_nothing() {
    let (mut board, diary) = attach(Board::new(chip()).with(Fault::GoneAfterReads(2)));
    assert_snapshot!(board.flash_bin(FLASH, &pattern(2500), |_| ()).unwrap_err());
    assert_eq!(diary.events(), []);
}

#[test]
fn refusals_of_the_chip_are_told() {
    let (mut board, _) = attach(Board::new(chip()).with(Fault::WriteProtected));
    assert_snapshot!(board.flash_bin(FLASH, &pattern(10), |_| ()).unwrap_err());
    assert_snapshot!(refused(Fault::Silent));
    let m33 = 0x410f_d214;
    let error = refused(Fault::Cpuid(m33));
    assert!(matches!(error, ProbeError::WrongChip { .. }));
    assert_snapshot!(error);
}

/// Of two cores with one architecture neither is refused, nor is one nobody knows.
#[test]
fn cores_that_may_be_right_pass() {
    for cpuid in [0x411f_c271, 0x410f_c241, 0x631f_1320, 0] {
        Attached::over(Box::new(Board::new(chip()).with(Fault::Cpuid(cpuid)))).unwrap();
    }
}

#[test]
fn bytes_that_belong_elsewhere_erase_nothing() {
    let (mut board, diary) = attach(Board::new(chip()));
    let end = FLASH + 4 * SMALL + 2 * LARGE;
    assert_snapshot!(board.flash_bin(end - 4, &[1; 8], |_| ()).unwrap_err());
    assert_snapshot!(board.flash_bin(suite::RAM, &[1; 8], |_| ()).unwrap_err());
    assert_snapshot!(board.flash_bin(FLASH, &[], |_| ()).unwrap_err());
    // Flash may end at the top of the address space, and an address may lie there.
    assert!(matches!(board.flash_bin(u32::MAX, &[1; 8], |_| ()), Err(ProbeError::NotFlash { .. })));
    assert_eq!(diary.events(), []);
}

#[test]
fn files_that_are_no_firmware_are_refused() {
    let (mut board, _) = attach(Board::new(chip()));
    assert_snapshot!(board.flash_elf("nowhere/runner.elf".as_ref(), |_| ()).unwrap_err());
    let parse = |bytes: &[u8]| Image::elf_bytes("runner.elf", bytes).unwrap_err();
    assert_snapshot!(parse(b"model"));
    let mut workstation = elf(&[loaded(".text", FLASH, &[1])], None);
    workstation[18] = 3;
    assert_snapshot!(parse(&workstation));
    assert_snapshot!(parse(&elf(&[], None)));
    let mut damaged = elf(&[loaded(".text", FLASH, &[1])], None);
    damaged[28..32].copy_from_slice(&[0xff; 4]);
    assert_snapshot!(parse(&damaged));
    let twice = [loaded(".text", FLASH, &[1; 8]), loaded(".rodata", FLASH + 4, &[2; 8])];
    assert_snapshot!(parse(&elf(&twice, None)));
    // A file cut off anywhere is an error or another image, and no panic.
    let whole = elf(&[loaded(".text", FLASH, &pattern(64))], Some(suite::RAM));
    for length in 0..whole.len() {
        let _ = Image::elf_bytes("runner.elf", &whole[..length]);
    }
}

#[test]
fn the_control_block_is_a_symbol() {
    let text = [loaded(".text", FLASH, &[1])];
    let image = |block| Image::elf_bytes("runner.elf", &elf(&text, block)).unwrap();
    assert_eq!(image(Some(suite::RAM + 64)).control_block(), Some(suite::RAM + 64));
    assert_eq!(image(None).control_block(), None);
}
