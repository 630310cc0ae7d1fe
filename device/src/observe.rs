//! What a caller may watch while the engine runs.

/// Called around every layer, outside the layer's own work.
pub trait Observer {
    /// Layer `layer` is about to run.
    fn begin(&mut self, layer: usize);
    /// Layer `layer` has run; `output` are its bytes in the arena: packed codes, or logits as little-endian `i32`.
    fn end(&mut self, layer: usize, output: &[u8]);
}

/// Watches nothing.
impl Observer for () {
    fn begin(&mut self, _: usize) {}
    fn end(&mut self, _: usize, _: &[u8]) {}
}
