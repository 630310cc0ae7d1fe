//! Ctrl-C as a question that a training loop can ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether the user asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes Ctrl-C from now on: the first one asks to stop, and so does every other.
    pub fn watch() -> Self {
        static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        let asked = ASKED.get_or_init(|| {
            let asked = Arc::new(AtomicBool::new(false));
            let handler = asked.clone();
            // Where no handler can be set, Ctrl-C ends the process as ever, and nothing half-written is left.
            let _ = ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed));
            asked
        });
        Self(asked.clone())
    }

    /// Whether Ctrl-C was pressed.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
