//! Slots: a good image always starts, wherever the power goes and whatever lies in flash.

mod outage;
#[allow(dead_code, reason = "of the trial, only the repair is needed here")]
mod trial;

use ed25519_dalek::{Signer, SigningKey};
use outage::{ByteFlash, Device, Power, Tear, cut_everywhere};
use releq_device::signed::{PublicKey, Signed};
use releq_device::slots::{Slot, TRIES, Update, UpdateError, answers};
use releq_device::{Arena, kernels};
use releq_format::crc::crc32;
use releq_format::image::{Image, ImageBuffer, SIGNATURE, signed_digest};

const TINY: &[u8] = include_bytes!("../../format/golden/v1/tiny.rlq");
const EVERY_OP: &[u8] = include_bytes!("../../format/golden/v1/every-op.rlq");
const CONCAT: &[u8] = include_bytes!("../../format/golden/v1/concat.rlq");
const ENDS: &[u8] = include_bytes!("../../format/golden/v1/ends.rlq");

/// Opens and gives its known answer.
fn good(bytes: &[u8]) -> bool {
    Image::open(bytes).is_ok_and(|image| works(&image))
}

fn works(image: &Image<'_>) -> bool {
    answers::<16>(image, &mut Arena([0; 16 << 10]).0, kernels::ALL)
}

/// A device of slots of 8 KiB, pages of 512 bytes and words of 8.
type Usual<'p> = Device<'p, fn(&[u8]) -> bool, 8192, 512, 8>;

fn with_device(test: impl FnOnce(Usual<'_>)) {
    test(Device::new(&Power::lasting(Power::ENDLESS, Tear::Clean), good));
}

fn cut<const PAGE: usize, const WORD: usize>(images: [&[u8]; 3], tear: Tear, good: impl FnMut(&[u8]) -> bool) {
    let tally = cut_everywhere::<8192, PAGE, WORD>(images, tear, good);
    // One for each byte of the image at least, and the new one runs once its header is there.
    assert!(tally.old > images[1].len() && tally.new >= WORD, "{tally:?}");
    println!("figure: power cuts of updates after which the old image ran {}", tally.old);
    println!("figure: power cuts of updates after which the new image ran {}", tally.new);
}

#[test]
fn power_may_go_at_every_byte() {
    for tear in [Tear::Clean, Tear::Garbled] {
        cut::<512, 4>([EVERY_OP, ENDS, CONCAT], tear, good);
        cut::<2048, 8>([ENDS, CONCAT, EVERY_OP], tear, good);
    }
}

#[test]
fn words_may_be_wide_or_bytes() {
    for tear in [Tear::Clean, Tear::Garbled] {
        cut::<1024, 1>([TINY, EVERY_OP, CONCAT], tear, good);
        cut::<512, 32>([TINY, EVERY_OP, CONCAT], tear, good);
        cut::<4096, 256>([CONCAT, TINY, EVERY_OP], tear, good);
    }
}

/// The application asks for more than a sound image.
#[test]
fn power_may_go_while_signed_images_are_written() {
    let signer = SigningKey::from_bytes(&[5; 32]);
    let sign = |image: &[u8]| {
        let mut bytes = image.to_vec();
        bytes[SIGNATURE].copy_from_slice(&signer.sign(&signed_digest(image).unwrap()).to_bytes());
        trial::repair(&mut bytes);
        bytes
    };
    let keys = [PublicKey(signer.verifying_key().to_bytes())];
    let good = |bytes: &[u8]| Signed::open(bytes, &keys).is_ok_and(|signed| works(signed.image()));
    let [a, b, c] = [EVERY_OP, TINY, CONCAT].map(sign);
    cut::<512, 8>([&a, &b, &c], Tear::Garbled, good);
    let power = Power::lasting(Power::ENDLESS, Tear::Clean);
    let mut device = Device::<_, 8192, 512, 8>::new(&power, good);
    assert!(device.update(&a) && device.update(TINY) && device.runs(&a), "an unsigned image does not run");
}

/// The power goes in an update, and again in the one that follows.
#[test]
fn power_may_go_twice() {
    let mut count = 0;
    for first in (1..).step_by(3) {
        let mut lasted = false;
        for second in (1..).step_by(7) {
            let power = Power::lasting(Power::ENDLESS, Tear::Garbled);
            let mut device = Device::<_, 4096, 512, 8>::new(&power, good);
            assert!(device.update(CONCAT) && device.update(EVERY_OP));
            power.restore(first);
            lasted = device.update(TINY);
            power.restore(second);
            let again = device.start(|slots| slots.confirm()).is_ok() && device.update(TINY);
            power.restore(Power::ENDLESS);
            assert!(device.runs(TINY) || device.runs(EVERY_OP), "cut at {first}, then at {second}");
            count += 1;
            if again {
                break;
            }
        }
        if lasted {
            break;
        }
    }
    println!("figure: pairs of power cuts after which a good image ran {count}");
    assert!(count > 1_000, "{count}");
}

#[test]
fn the_first_update_needs_no_other_image() {
    with_device(|mut device| {
        device.start(|slots| assert_eq!((slots.running(), slots.image(), slots.is_confirmed()), (None, None, false)));
        assert!(device.update(TINY));
        device.start(|slots| {
            assert_eq!((slots.running(), slots.image(), slots.is_confirmed()), (Some(Slot::A), Some(TINY), true));
        });
        assert!(device.update(CONCAT));
        device.start(|slots| assert_eq!((slots.running(), slots.image()), (Some(Slot::B), Some(CONCAT))));
    });
}

/// `image` with another digest of its known answer.
fn with_another_answer(image: &[u8]) -> Vec<u8> {
    const SEED: [u8; 5] = [0x81, 0x80, 0xB4, 0xF7, 0x05];
    let seed = image.windows(SEED.len()).position(|bytes| bytes == SEED).unwrap();
    let mut image = image.to_vec();
    image[seed + SEED.len()] ^= 1;
    trial::repair(&mut image);
    image
}

/// A sound image with another known answer, one with a flipped bit, and no image.
#[test]
fn what_is_not_good_is_rolled_back() {
    let wrong = with_another_answer(ENDS);
    assert!(Image::open(&ImageBuffer::from(&wrong[..])).is_ok());
    let mut flipped = ENDS.to_vec();
    flipped[1000] ^= 1;
    for bad in [&wrong[..], &flipped, &[0xFF; 500], &[]] {
        with_device(|mut device| {
            assert!(device.update(EVERY_OP));
            device.update(bad);
            for _ in 0..2 * TRIES {
                assert!(device.runs(EVERY_OP));
            }
            assert!(device.update(CONCAT) && device.runs(CONCAT));
        });
    }
}

/// An image that stops the application before it confirms has as many starts as tries.
#[test]
fn what_is_never_confirmed_is_rolled_back() {
    with_device(|mut device| {
        assert!(device.update(EVERY_OP));
        device.start(|slots| write(slots.split().1.update(TINY.len()).unwrap(), TINY));
        for _ in 0..TRIES {
            assert!(device.runs(TINY));
        }
        for _ in 0..3 {
            device.start(|slots| assert!(slots.image() == Some(EVERY_OP) && slots.is_confirmed()));
        }
    });
}

/// With nothing to fall back to, an image runs however often it was tried.
#[test]
fn one_image_is_better_than_none() {
    with_device(|mut device| {
        device.start(|slots| write(slots.split().1.update(TINY.len()).unwrap(), TINY));
        for _ in 0..3 * TRIES {
            device.start(|slots| assert!(slots.image() == Some(TINY) && !slots.is_confirmed()));
        }
        assert_eq!(device.start(|slots| slots.split().1.update(TINY.len()).err()), Some(UpdateError::Unconfirmed));
        assert!(device.start(|slots| slots.confirm()).is_ok());
        assert!(device.update(EVERY_OP) && device.runs(EVERY_OP));
    });
}

type Flash<'p> = ByteFlash<'p, 8192, 512, 8>;

fn write(mut update: Update<'_, &mut Flash<'_>>, image: &[u8]) {
    update.write(image).unwrap();
    assert_eq!(update.image(), image);
    update.finish().unwrap();
}

#[test]
fn an_update_says_what_is_wrong_with_it() {
    with_device(|mut device| {
        assert!(device.update(EVERY_OP));
        device.start(|slots| {
            let room = slots.split().1.room();
            assert!(room > 8100, "{room}");
            let refused = slots.split().1.update(room + 1).err();
            assert_eq!(refused, Some(UpdateError::TooLong { needed: room + 1, room }));
            assert!(slots.split().1.update(room).is_ok());
            let mut update = slots.split().1.update(20).unwrap();
            assert_eq!(update.write(&[1; 7]), Err(UpdateError::Ragged));
            assert_eq!(update.write(&[1; 24]), Err(UpdateError::Ragged));
            assert_eq!(update.write(&[1; 16]), Ok(()));
            assert_eq!(update.finish(), Err(UpdateError::Incomplete { missing: 4 }));
        });
        assert!(device.runs(EVERY_OP));
    });
}

/// A cell that is not programmed any more, of the image and of the header.
#[test]
fn worn_flash_is_noticed() {
    for cell in [8, 200] {
        with_device(|mut device| {
            assert!(device.update(EVERY_OP));
            device.flash[1].stuck = Some(cell);
            device.start(|slots| {
                let mut update = slots.split().1.update(TINY.len()).unwrap();
                update.write(TINY).unwrap();
                assert_eq!(update.finish(), Err(UpdateError::Worn));
            });
            assert!(device.runs(EVERY_OP));
        });
    }
}

/// One slot holds anything, even what looks like a header of the newest image of all.
#[test]
fn what_lies_in_one_slot_cannot_stop_the_other() {
    with_device(|mut device| {
        assert!(device.update(EVERY_OP) && device.update(TINY));
        let mut state = 7u32;
        for round in 0..2_000 {
            let other = device.flash[0].bytes_mut();
            for byte in other.iter_mut() {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            if round % 2 == 0 {
                let said = [*b"\xF2SLT", (1 + round as u32).to_le_bytes(), (state >> 19).to_le_bytes()].concat();
                other[..12].copy_from_slice(&said);
                other[12..16].copy_from_slice(&crc32(&said).to_le_bytes());
            }
            assert!(device.runs(TINY), "round {round}");
        }
        assert!(device.update(CONCAT) && device.runs(CONCAT));
    });
}

/// Numbers of updates wrap.
#[test]
fn the_newest_is_found_where_numbers_wrap() {
    with_device(|mut device| {
        assert!(device.update(EVERY_OP) && device.update(TINY));
        for (slot, sequence, length) in [(0, u32::MAX, EVERY_OP.len()), (1, 0, TINY.len())] {
            let said = [*b"\xF2SLT", sequence.to_le_bytes(), (length as u32).to_le_bytes()].concat();
            let bytes = device.flash[slot].bytes_mut();
            bytes[..12].copy_from_slice(&said);
            bytes[12..16].copy_from_slice(&crc32(&said).to_le_bytes());
        }
        assert!(device.runs(TINY));
        assert!(device.update(CONCAT) && device.runs(CONCAT));
    });
}
