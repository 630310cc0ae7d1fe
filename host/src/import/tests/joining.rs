//! Concatenations: which become layers, and which are refused by name.

use super::*;

/// Convolutions of five and three channels over the image, joined as `join` says and pooled.
fn joined(join: NodeProto) -> ModelProto {
    let nodes = vec![
        node("Conv", &["x", "five"], "a", vec![]),
        node("Conv", &["x", "three"], "b", vec![]),
        node("Conv", &["x", "small"], "c", vec![]),
        join,
        node("GlobalAveragePool", &["p"], "y", vec![]),
    ];
    model(nodes, vec![counted("five", &[5, 2, 1, 1]), counted("three", &[3, 2, 1, 1]), counted("small", &[3, 2, 2, 2])])
}

#[test]
fn channels_side_by_side_are_one_layer() {
    for axis in [1, -3] {
        let imported = import(&joined(node("Concat", &["b", "x", "a"], "p", vec![int("axis", axis)]))).unwrap();
        let graph = &imported.network.graph;
        let concat = graph.nodes.iter().position(|node| node.op == Op::Concat).unwrap();
        assert_eq!(graph.shapes().unwrap()[concat], [10, 6, 6]);
        assert_eq!(graph.nodes[concat].inputs[1], Source::Input);
        assert_eq!(layer_table(&imported.network).unwrap()[concat].quantized, "codes pass");
    }
}

/// As converters from Keras write it, with a transpose around.
#[test]
fn channels_last_are_joined_along_their_last_axis() {
    let join = |axis| {
        vec![
            node("Transpose", &["x"], "t", vec![ints("perm", &[0, 2, 3, 1])]),
            node("Concat", &["t", "t"], "p", vec![int("axis", axis)]),
            node("ReduceMean", &["p"], "y", vec![ints("axes", &[1, 2]), int("keepdims", 0)]),
        ]
    };
    let mut tiny = model(join(3), vec![]);
    tiny.opset_import[0].version = 13;
    assert_eq!(import(&tiny).unwrap().network.graph.shapes().unwrap(), [[4, 6, 6], [4, 1, 1]]);
    assert_eq!(
        refusal(&model(join(1), vec![])),
        "cannot import Concat `p`: it joins along axis 1; \
         join along the channels, axis 3; releq joins neither rows, columns nor batches"
    );
}

#[test]
fn other_ways_to_join_are_refused_by_name() {
    let why = |inputs: &[&str], axis: i64| refusal(&joined(node("Concat", inputs, "p", vec![int("axis", axis)])));
    for axis in [0, 2, 3] {
        let text = format!("cannot import Concat `p`: it joins along axis {axis}; join along the channels, axis 1;");
        assert!(why(&["a", "a"], axis).starts_with(&text), "{}", why(&["a", "a"], axis));
    }
    assert_eq!(
        why(&["a", "c"], 1),
        "cannot import Concat `p`: layer `concat1`: joins the channels of [[5, 6, 6], [3, 5, 5]], whose heights or widths \
         differ; change its sizes so that they fit; releq neither broadcasts nor groups otherwise"
    );
    let flattened = vec![
        node("Flatten", &["x"], "a", vec![]),
        node("Concat", &["a", "a"], "p", vec![int("axis", 1)]),
        node("Gemm", &["p", "w"], "y", vec![]),
    ];
    assert_eq!(
        refusal(&model(flattened, vec![counted("w", &[144, 2])])),
        "cannot import Concat `p`: it joins flattened images; join the images along their channels, then flatten"
    );
    assert_eq!(
        why(&["a", "b", "five"], 1),
        "cannot import Concat `p`: it joins activations and a constant; join activations only, or one and zeros"
    );
}
