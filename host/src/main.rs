//! The door of the workbench.

fn main() {}
