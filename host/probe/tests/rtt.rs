//! RTT against firmware that echoes: rings that wrap, firmware that is late, stuck, stopped or another one.

mod suite;

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use releq_probe::mock::{Board, Echo, Event, Fault};
use releq_probe::{ControlBlock, ProbeError, Rtt};
use suite::{RAM, attach, chip, pattern};

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(200);
const BLOCK: u32 = RAM + 0x2f0;

fn running(echo: Echo) -> Rtt {
    let at = ControlBlock::At(echo.block);
    Rtt::attach(attach(Board::new(chip()).running(echo, true)).0, at, NOW).unwrap()
}

fn failing(board: Board, place: ControlBlock) -> ProbeError {
    Rtt::restart(attach(board).0, place, Duration::from_millis(5)).unwrap_err()
}

/// Sends and receives in turn, no more at once than a ring holds: firmware that cannot answer stops reading.
fn exchange(rtt: &mut Rtt, ring: usize, bytes: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    for part in bytes.chunks(ring - 1) {
        rtt.send(part).unwrap();
        while let Some(more) = rtt.receive(NOW).unwrap() {
            back.extend(more);
        }
    }
    while back.len() < bytes.len() {
        back.extend(rtt.receive(SOON).unwrap().expect("the echo of all that was sent"));
    }
    back
}

/// Rings of every size from 2 up wrap at every offset; paces from a byte to everything.
#[test]
fn what_is_sent_comes_back_over_rings_of_any_size() {
    let bytes = pattern(700);
    for ring in [2, 3, 5, 16, 61, 64, 100, 1024] {
        for pace in [1, 7, usize::MAX] {
            let mut rtt = running(Echo { pace, ..Echo::at(BLOCK, ring) });
            assert_eq!(exchange(&mut rtt, ring as usize, &bytes), bytes, "ring {ring}, pace {pace}");
        }
    }
}

#[test]
fn a_restart_wipes_the_last_run_and_waits_for_the_next() {
    let echo = Echo { boot_reads: 20, ..Echo::at(BLOCK, 64) };
    // Left by an earlier run: a block whose rings are elsewhere.
    let stale = Board::new(chip()).running(Echo::at(BLOCK, 8), true);
    let (board, diary) = attach(stale.running(echo, false));
    let mut rtt = Rtt::restart(board, ControlBlock::At(BLOCK), SOON).unwrap();
    assert_eq!(diary.events(), [Event::Reset, Event::Ran]);
    assert_eq!(exchange(&mut rtt, 64, &pattern(50)), pattern(50));
}

/// At the start, at the end, and across the border of two chunks that are read.
#[test]
fn a_control_block_is_found_anywhere_in_ram() {
    for block in [0x1000_0000, 0x1000_0ff8, 0x1000_1000, RAM, RAM + 0xffc, RAM + 0xc000 - 120 - 36] {
        let board = Board::new(chip()).running(Echo::at(block, 9), false);
        let mut rtt = Rtt::restart(attach(board).0, ControlBlock::Scan, SOON).unwrap();
        assert_eq!(exchange(&mut rtt, 9, b"somewhere"), b"somewhere", "0x{block:08x}");
    }
}

/// The words alone, in a program that prints them for example, are no control block.
#[test]
fn the_identifier_without_channels_is_passed_over() {
    let lure = [b"SEGGER RTT\0\0\0\0\0\0".as_slice(), &[0xff; 8]].concat();
    let board = Board::new(chip()).holding(RAM, &lure).running(Echo::at(BLOCK, 64), true);
    let mut rtt = Rtt::attach(attach(board).0, ControlBlock::Scan, NOW).unwrap();
    assert_eq!(exchange(&mut rtt, 64, b"here"), b"here");
}

#[test]
fn text_comes_on_channel_0_and_characters_stay_whole() {
    let says = "µ-controller: “ready” ✓\n";
    let mut rtt = running(Echo { says: says.into(), pace: 1, ..Echo::at(BLOCK, 8) });
    let mut log = String::new();
    for _ in 0..200 {
        log += &rtt.log().unwrap();
    }
    assert_eq!(log, says);

    let mut rtt = running(Echo { says: b"a\xffb".to_vec(), ..Echo::at(BLOCK, 64) });
    assert_eq!([rtt.log().unwrap(), rtt.log().unwrap()].concat(), "a\u{fffd}b");
}

#[test]
fn no_answer_is_none_after_the_patience_and_not_before() {
    let mut rtt = running(Echo::at(BLOCK, 64));
    let (start, patience) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(rtt.receive(patience).unwrap(), None);
    assert!(start.elapsed() >= patience);
}

#[test]
fn without_a_control_block_the_text_says_where_it_was_looked_for() {
    assert_snapshot!(failing(Board::new(chip()), ControlBlock::At(BLOCK)));
    assert_snapshot!(failing(Board::new(chip()), ControlBlock::Scan));
    // Firmware that does not come as far.
    let late = Echo { boot_reads: 1_000_000, ..Echo::at(BLOCK, 64) };
    let error = failing(Board::new(chip()).running(late, false), ControlBlock::At(BLOCK));
    assert!(matches!(error, ProbeError::NoControlBlock { .. }));
}

#[test]
fn other_firmware_is_named() {
    let printer = Echo { channels: 1, ..Echo::at(BLOCK, 64) };
    let error = failing(Board::new(chip()).running(printer, false), ControlBlock::At(BLOCK));
    assert_snapshot!(error);
}

#[test]
fn firmware_that_is_stuck_or_stopped_is_told_from_silence() {
    let mut rtt = running(Echo { pace: 0, ..Echo::at(BLOCK, 16) });
    let error = rtt.send_within(&pattern(40), Duration::from_millis(20)).unwrap_err();
    assert_snapshot!(error);

    let board = Board::new(chip()).running(Echo::at(BLOCK, 64), true).with(Fault::Stops);
    let mut rtt = Rtt::attach(attach(board).0, ControlBlock::At(BLOCK), NOW).unwrap();
    assert_snapshot!(rtt.receive(NOW).unwrap_err());
}

#[test]
fn a_control_block_that_makes_no_sense_is_refused() {
    let echo = Echo::at(BLOCK, 64);
    let (buffer, offset) = (echo.descriptor(1) + 4, echo.descriptor(1) + 12);
    let broken = |address, word: u32| {
        let board = Board::new(chip()).running(echo.clone(), true).holding(address, &word.to_le_bytes());
        Rtt::attach(attach(board).0, ControlBlock::At(BLOCK), NOW)
    };
    assert_snapshot!(broken(buffer, 0x0800_0000).unwrap_err());
    assert!(matches!(broken(buffer, RAM + 0xc000 - 63), Err(ProbeError::Corrupt { .. })), "one byte beyond RAM");
    assert!(matches!(broken(buffer, u32::MAX), Err(ProbeError::Corrupt { .. })));
    assert_snapshot!(broken(offset, 64).unwrap().receive(NOW).unwrap_err());
}

#[test]
fn a_probe_that_goes_is_told() {
    let board = Board::new(chip()).running(Echo::at(BLOCK, 64), true).with(Fault::GoneAfterReads(12));
    let mut rtt = Rtt::attach(attach(board).0, ControlBlock::At(BLOCK), NOW).unwrap();
    let error = loop {
        match rtt.receive(NOW) {
            Ok(None) => {}
            Ok(Some(bytes)) => panic!("{bytes:?} out of nothing"),
            Err(error) => break error,
        }
    };
    assert_snapshot!(error);
}

/// The board can be read in between, and is given back.
#[test]
fn the_board_stays_at_hand() {
    let mut rtt = running(Echo::at(BLOCK, 64));
    let mut id = [0; 10];
    rtt.board().read(BLOCK, &mut id).unwrap();
    assert_eq!(&id, b"SEGGER RTT");
    rtt.into_board().read(BLOCK, &mut id).unwrap();
}
