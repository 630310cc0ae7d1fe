//! Lines on the debugger's console, without `core::fmt`, which would be larger than the engine's own frame.

use cortex_m_semihosting::debug::{self, ExitStatus};
use cortex_m_semihosting::hio::{self, HostStream};

/// The host's standard output.
pub struct Report(Option<HostStream>);

impl Report {
    /// The host's standard output; silence where there is no host.
    pub fn open() -> Self {
        Self(hio::hstdout().ok())
    }

    fn text(&mut self, text: &[u8]) {
        if let Some(stream) = &mut self.0 {
            // Nothing is left to do if the console is gone.
            let _ = stream.write_all(text);
        }
    }

    /// `name: value`.
    pub fn line(&mut self, name: &str, value: &str) {
        for text in [name, ": ", value, "\n"] {
            self.text(text.as_bytes());
        }
    }

    /// `name: value`.
    pub fn number(&mut self, name: &str, value: i32) {
        self.numbers(name, [value].into_iter());
    }

    /// `name: value value …`.
    pub fn numbers(&mut self, name: &str, values: impl Iterator<Item = i32>) {
        self.text(name.as_bytes());
        self.text(b":");
        for value in values {
            self.decimal(value);
        }
        self.text(b"\n");
    }

    /// A space and the number.
    fn decimal(&mut self, value: i32) {
        let mut digits = [b' '; 12];
        let mut left = value.unsigned_abs();
        let mut used = 0;
        for (index, digit) in digits.iter_mut().rev().enumerate() {
            if index == 0 || left > 0 {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            } else {
                if value < 0 {
                    *digit = b'-';
                    used = index + 1;
                } else {
                    used = index;
                }
                break;
            }
        }
        self.text(b" ");
        self.text(digits.get(digits.len().saturating_sub(used)..).unwrap_or(&[]));
    }

    /// Says why there is no answer, and ends with the verdict no.
    pub fn refuse(&mut self, reason: &str) -> ! {
        self.line("refused", reason);
        end(ExitStatus::Err(()))
    }

    /// Ends with the verdict yes.
    pub fn succeed(&mut self) -> ! {
        end(ExitStatus::Ok(()))
    }
}

fn end(verdict: ExitStatus) -> ! {
    debug::exit(verdict);
    // Without a host the program stays here.
    loop {
        core::hint::spin_loop();
    }
}

/// What happens when something cannot happen; nothing here reaches it, so that it is not even linked.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    end(ExitStatus::Err(()))
}
