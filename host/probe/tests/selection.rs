//! Which probe is meant: none, one, several, a selector, permissions.

use insta::assert_snapshot;
use releq_probe::selection::choose;
use releq_probe::{Attached, Found, Kind, Link, ProbeError, list};

fn probe(name: &str, identifier: &str) -> Found {
    Found { name: name.into(), identifier: identifier.into(), accessible: true }
}

fn desk() -> Vec<Found> {
    vec![
        probe("STLink V2-1", "0483:374b:066BFF545250"),
        probe("STLink V2-1", "0483:374b:0669FF303435"),
        probe("J-Link", "1366:1015"),
        probe("Dual RS232-HS", "0403:6010-1:A:B"),
    ]
}

#[test]
fn without_probes_the_text_says_what_to_check() {
    let error = choose(&[], None).unwrap_err();
    assert_eq!(error.kind(), Kind::Absent);
    assert_snapshot!(error);
    assert!(matches!(choose(&[], Some("0483:374b")), Err(ProbeError::NoProbe)));
}

#[test]
fn the_only_probe_is_meant() {
    let desk = [probe("J-Link", "1366:1015")];
    assert_eq!(choose(&desk, None).unwrap(), &desk[0]);
}

#[test]
fn a_selector_may_leave_out_serial_and_interface() {
    let desk = desk();
    assert_eq!(choose(&desk, Some("1366:1015")).unwrap(), &desk[2]);
    assert_eq!(choose(&desk, Some("0483:374B:0669FF303435")).unwrap(), &desk[1]);
    assert_eq!(choose(&desk, Some("0403:6010")).unwrap(), &desk[3]);
    // Serial numbers with colons, and an empty one that means a probe without.
    assert_eq!(choose(&desk, Some("0403:6010-1:A:B")).unwrap(), &desk[3]);
    assert_eq!(choose(&desk, Some("1366:1015:")).unwrap(), &desk[2]);
    assert!(matches!(choose(&desk, Some("0403:6010-2")), Err(ProbeError::NoSuchProbe { .. })));
}

#[test]
fn several_probes_are_listed_as_flags() {
    let desk = desk();
    assert_snapshot!(choose(&desk, None).unwrap_err());
    let Err(ProbeError::SeveralProbes { found }) = choose(&desk, Some("0483:374b")) else { panic!("two fit") };
    assert_eq!(found, desk[..2]);
}

#[test]
fn other_refusals_say_why() {
    assert_snapshot!(choose(&desk(), Some("0483:3748")).unwrap_err());
    assert_snapshot!(choose(&desk(), Some("the blue one")).unwrap_err());
    let locked = Found { accessible: false, ..probe("J-Link", "1366:1015") };
    assert_snapshot!(choose(&[locked], None).unwrap_err());
}

/// On a machine with a probe, this says what it is instead; nothing is opened.
#[test]
fn usb_can_be_asked() {
    let found = list();
    if found.is_empty() {
        let error = Attached::open(None, "STM32F446RETx", Link::default()).unwrap_err();
        assert!(matches!(error, ProbeError::NoProbe), "{error}");
    }
    for probe in found {
        assert!(matches!(
            choose(std::slice::from_ref(&probe), Some(&probe.identifier)),
            Ok(_) | Err(ProbeError::Denied { .. })
        ));
    }
}

/// What only a real probe brings about; the texts are kept all the same.
#[test]
fn texts_of_what_happens_to_real_probes() {
    let (chip, cause) = (String::from("nRF52840_xxAA"), String::from("USB Communication Error: busy"));
    assert_snapshot!(ProbeError::Open { identifier: "1366:1015".into(), cause: cause.clone() });
    assert_snapshot!(ProbeError::Locked { chip: chip.clone() });
    assert_snapshot!(ProbeError::Failed { chip, during: "resetting it".into(), cause });
}
