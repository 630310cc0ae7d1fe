//! Short unique layer names: those of the weights where they have some, else the kind of layer and a number.

use std::collections::{HashMap, HashSet};

/// Hands out names; those derived from weights are reserved before the first numbered one.
pub(super) struct Names {
    reserved: HashSet<String>,
    used: HashSet<String>,
    counters: HashMap<String, usize>,
}

impl Names {
    /// `weights` are the names of all weight tensors of the file.
    pub(super) fn new<'a>(weights: impl Iterator<Item = &'a str>) -> Self {
        let reserved = weights.filter_map(stem).map(str::to_owned).collect();
        Self { reserved, used: HashSet::new(), counters: HashMap::new() }
    }

    /// `conv1` for a layer with `conv1.weight`; a second layer of that name is `conv1_2`, others are `<kind><number>`.
    pub(super) fn pick(&mut self, weight: Option<&str>, kind: &'static str) -> String {
        let name = match weight.and_then(stem) {
            Some(stem) if !self.used.contains(stem) => stem.to_owned(),
            Some(stem) => self.numbered(&format!("{stem}_"), 2),
            None => self.numbered(kind, 1),
        };
        self.used.insert(name.clone());
        name
    }

    /// The next free `<prefix><number>`, counting from `first`.
    fn numbered(&mut self, prefix: &str, first: usize) -> String {
        let counter = self.counters.entry(prefix.to_owned()).or_insert(first);
        loop {
            let name = format!("{prefix}{counter}");
            *counter += 1;
            if !self.used.contains(&name) && !self.reserved.contains(&name) {
                return name;
            }
        }
    }
}

/// The layer's part of a weight's name, if it is a name someone gave: `83.weight` and `onnx::Conv_250` are not.
fn stem(weight: &str) -> Option<&str> {
    let stem = weight.strip_suffix(".weight")?;
    let plain = stem.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    let given = stem.chars().any(|letter| letter.is_ascii_alphabetic());
    (plain && given).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_name_layers_and_numbers_fill_in() {
        let mut names = Names::new(["conv2.weight", "83.weight", "onnx::Conv_250"].into_iter());
        assert_eq!(names.pick(Some("onnx::Conv_250"), "conv"), "conv1");
        assert_eq!(names.pick(None, "conv"), "conv3");
        assert_eq!(names.pick(Some("conv2.weight"), "conv"), "conv2");
        assert_eq!(names.pick(Some("conv2.weight"), "conv"), "conv2_2");
        assert_eq!(names.pick(Some("83.weight"), "fc"), "fc1");
        assert_eq!(names.pick(None, "relu"), "relu1");
        assert_eq!(names.pick(Some("layer1.0.conv1.weight"), "conv"), "layer1.0.conv1");
    }
}
