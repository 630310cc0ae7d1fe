//! Power cuts on the emulated Cortex-M4F: an update in its slots is cut at each byte and at each step of an erasure, and a
//! good image runs each time.
#![no_std]
#![no_main]

#[path = "../../../tests/outage/mod.rs"]
mod outage;

use core::fmt::Write;

use outage::{Tear, cut_everywhere};
use releq_device::slots::answers;
use releq_device::{include_image, kernels};
use releq_firmware::fault::LastWords;
use releq_firmware::transport::{Semihosted, Semihosting};
use releq_format::image::Image;

releq_firmware::memories!(VIRT_M4);

#[cortex_m_rt::entry]
fn main() -> ! {
    let arena = ARENA.take();
    let mut said = Semihosting::open();
    let old = include_image!("../../../../format/golden/v1/every-op.rlq");
    let new = include_image!("../../../../format/golden/v1/tiny.rlq");
    let next = include_image!("../../../../format/golden/v1/concat.rlq");
    for (tear, what) in [(Tear::Clean, "clean"), (Tear::Garbled, "garbled")] {
        let tally = cut_everywhere::<4096, 512, 8>([old, new, next], tear, |bytes| {
            Image::open(bytes).is_ok_and(|image| answers::<32>(&image, arena, kernels::ALL))
        });
        let _ = writeln!(said, "{what} power cuts on {} after which the old image ran {}", BOARD.name, tally.old);
        let _ = writeln!(said, "{what} power cuts on {} after which the new image ran {}", BOARD.name, tally.new);
    }
    Semihosted.end(0)
}

releq_firmware::faults!(Semihosted);
