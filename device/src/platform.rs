//! What a server asks of the board around it, beyond a clock.

/// The board's part in an inference. `()` has none.
pub trait Platform {
    /// A run is about to begin: mask interrupts, raise the pin that a scope or a power analyser triggers on.
    fn begin_inference(&mut self) {}

    /// The run has ended: undo what [`Platform::begin_inference`] did.
    fn end_inference(&mut self) {}

    /// Most bytes of stack in use at any moment since the start, and bytes there are; `None` where it is not measured.
    fn stack(&self) -> Option<(u32, u32)> {
        None
    }
}

impl Platform for () {}
