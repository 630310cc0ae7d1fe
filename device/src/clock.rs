//! What a server measures time with.

use releq_format::wire::Unit;

/// A free-running counter.
pub trait Clock {
    /// What its counts are, once converted. The same for as long as the clock lives.
    fn unit(&self) -> Unit;

    /// The counter now, in its own ticks; counts up and wraps.
    ///
    /// Implementations that count instructions keep this out of line, so that reading costs the same everywhere.
    fn ticks(&self) -> u32;

    /// Units between two readings less than one wrap apart.
    ///
    /// It takes both readings and not their difference: a tick is no whole number of instructions, so only positions
    /// since the counter's start convert exactly.
    fn units(&self, begin: u32, end: u32) -> u32;

    /// Runs a loop of exactly two instructions a turn, so that the host can check the clock. At least one turn.
    fn spin(&self, loops: u32);
}
