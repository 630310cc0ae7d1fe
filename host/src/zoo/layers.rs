//! A graph under construction: layers appended one after the other, or to an earlier one.

use crate::network::{Graph, InputSpec, Node, Op, Source, Window};

/// Layers so far. Each method appends one and moves the end of the chain to it.
pub(super) struct Layers {
    nodes: Vec<Node>,
    end: Source,
}

impl Layers {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), end: Source::Input }
    }

    /// Where the chain ends: what the next layer reads.
    pub(super) fn end(&self) -> Source {
        self.end
    }

    /// Goes back to `source`, to begin a branch there.
    pub(super) fn back_to(&mut self, source: Source) {
        self.end = source;
    }

    pub(super) fn push(&mut self, name: impl Into<String>, op: Op) {
        self.nodes.push(Node { name: name.into(), op, inputs: vec![self.end] });
        self.end = Source::Node(self.nodes.len() - 1);
    }

    /// The sum of the chain's end and `other`.
    pub(super) fn add(&mut self, name: impl Into<String>, other: Source) {
        self.nodes.push(Node { name: name.into(), op: Op::Add, inputs: vec![self.end, other] });
        self.end = Source::Node(self.nodes.len() - 1);
    }

    pub(super) fn conv(&mut self, name: impl Into<String>, out: usize, window: Window, bias: bool) {
        self.push(name, Op::Conv { out, window, groups: 1, bias });
    }

    pub(super) fn depthwise(&mut self, name: impl Into<String>, channels: usize, window: Window) {
        self.push(name, Op::Conv { out: channels, window, groups: channels, bias: false });
    }

    pub(super) fn dense(&mut self, name: impl Into<String>, out: usize) {
        self.push(name, Op::Dense { out, bias: true });
    }

    pub(super) fn batch_norm(&mut self, name: impl Into<String>) {
        self.push(name, Op::BatchNorm { eps: 1e-5 });
    }

    pub(super) fn relu(&mut self, name: impl Into<String>) {
        self.push(name, Op::Relu);
    }

    pub(super) fn halve(&mut self, name: impl Into<String>) {
        self.push(name, Op::MaxPool { window: Window::square(2, 2, 0) });
    }

    pub(super) fn graph(self, name: &str, shape: [usize; 3]) -> Graph {
        Graph { name: name.to_owned(), input: InputSpec::unit(shape), nodes: self.nodes, held_out: 0 }
    }
}
