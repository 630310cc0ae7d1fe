//! One ONNX node as an importer sees it: inputs and attributes by name, and errors that name it.

use super::ImportError;
use super::proto::{AttributeProto, NodeProto, TensorProto};

/// No kernel, stride or padding is larger, and sums of such sizes cannot overflow.
const LARGEST: i64 = 1 << 16;

#[derive(Clone, Copy)]
pub(super) struct Call<'a>(pub(super) &'a NodeProto);

impl<'a> Call<'a> {
    pub(super) fn op(self) -> &'a str {
        &self.0.op_type
    }

    /// Its name, or its output's where the exporter gave none.
    pub(super) fn label(self) -> &'a str {
        if self.0.name.is_empty() { self.0.output.first().map_or("", String::as_str) } else { &self.0.name }
    }

    /// The name of input `index`, or `None` where an optional one is left out.
    pub(super) fn input(self, index: usize) -> Option<&'a str> {
        self.0.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of its only output.
    pub(super) fn output(self) -> Result<&'a str, ImportError> {
        match self.0.output.split_first() {
            Some((first, rest)) if rest.iter().all(String::is_empty) => Ok(first),
            _ => Err(self.refuse("it has several outputs", "export the network for inference (model.eval())")),
        }
    }

    pub(super) fn refuse(self, cause: impl Into<String>, remedy: impl Into<String>) -> ImportError {
        ImportError::Unsupported {
            op: self.op().to_owned(),
            node: self.label().to_owned(),
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }

    /// For what no exporter writes.
    pub(super) fn broken(self, cause: impl Into<String>) -> ImportError {
        self.refuse(cause, "the file contradicts itself; export it again")
    }

    /// Refuses attributes outside `known`, which could change what the node computes.
    pub(super) fn only(self, known: &[&str]) -> Result<(), ImportError> {
        match self.0.attribute.iter().find(|attribute| !known.contains(&attribute.name.as_str())) {
            Some(other) => Err(self.refuse(
                format!("releq does not know its attribute `{}`", other.name),
                "export it with the standard operators of opset 11 to 21",
            )),
            None => Ok(()),
        }
    }

    pub(super) fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(super) fn float(self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    /// A float attribute that weights are computed with.
    pub(super) fn factor(self, name: &str, default: f32) -> Result<f32, ImportError> {
        let factor = self.float(name, default);
        if factor.is_finite() { Ok(factor) } else { Err(self.broken(format!("its {name} is {factor}"))) }
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(self, name: &str, default: &'static str) -> &'a str {
        match self.attribute(name) {
            Some(attribute) => std::str::from_utf8(&attribute.s).unwrap_or("(not text)"),
            None => default,
        }
    }

    /// An axis of a tensor of `rank` axes; negative ones count from the last.
    pub(super) fn axis(self, axis: i64, rank: usize) -> Result<usize, ImportError> {
        let from_first = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let axis_of = usize::try_from(from_first).ok().filter(|&axis| axis < rank);
        axis_of.ok_or_else(|| self.broken(format!("it has an axis {axis} where there are {rank}")))
    }

    pub(super) fn tensor(self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// `N` sizes of an attribute, or `default` where it is absent.
    pub(super) fn sizes<const N: usize>(self, name: &str, default: [usize; N]) -> Result<[usize; N], ImportError> {
        let Some(values) = self.ints(name) else { return Ok(default) };
        let size = |value: &i64| usize::try_from(*value).ok().filter(|_| *value <= LARGEST);
        let sizes: Option<Vec<usize>> = values.iter().map(size).collect();
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| {
            self.refuse(
                format!("its {name} are {values:?}, not {N} sizes from 0 to {LARGEST}"),
                "use two-dimensional layers without negative padding",
            )
        })
    }
}
