//! The house's arrows: which crate may depend on which (docs/adr/0001).
