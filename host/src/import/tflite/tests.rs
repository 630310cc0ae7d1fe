//! Imports of small models that the FlatBuffers builder writes here, of real ones where the machine has them, and of
//! files made to break the reader.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, WIPOffset};

use super::{imported, tflite};
use crate::import::tests::keep_seed;
use crate::import::{ImportError, Imported, layer_table};
use crate::network::{Op, Source, Window};
use crate::train::model::Model;

type Table = WIPOffset<TableFinishedWIPOffset>;

/// A tensor to be written: sizes, element type, data and scales.
#[derive(Clone, Default)]
struct Entry {
    shape: Vec<i32>,
    element: i8,
    data: Vec<u8>,
    scales: Vec<f32>,
    axis: i32,
}

/// An operator to be written; options are field numbers with bytes or words.
#[derive(Clone)]
struct Step {
    code: i32,
    inputs: Vec<i32>,
    output: i32,
    kind: i8,
    bytes: Vec<(u16, i8)>,
    words: Vec<(u16, i32)>,
}

#[derive(Clone)]
struct File {
    version: u32,
    tensors: Vec<Entry>,
    steps: Vec<Step>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
}

fn slot(number: u16) -> u16 {
    4 + 2 * number
}

impl File {
    /// A model whose tensor 0 is its input of `shape`.
    fn new(shape: &[i32]) -> Self {
        let input = Entry { shape: shape.to_vec(), ..Entry::default() };
        Self { version: 3, tensors: vec![input], steps: Vec::new(), inputs: vec![0], outputs: Vec::new() }
    }

    /// Adds a constant of floats 0, 1, 2…
    fn counted(&mut self, shape: &[i32]) -> i32 {
        let count: i32 = shape.iter().product();
        let data = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
        self.tensor(Entry { shape: shape.to_vec(), data, ..Entry::default() })
    }

    /// Adds a constant of whole numbers.
    fn whole(&mut self, values: &[i32]) -> i32 {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(Entry { shape: vec![values.len() as i32], element: 2, data, ..Entry::default() })
    }

    fn tensor(&mut self, entry: Entry) -> i32 {
        self.tensors.push(entry);
        self.tensors.len() as i32 - 1
    }

    /// Adds an operator; its output becomes the model's.
    fn step(&mut self, code: i32, inputs: &[i32], kind: i8, bytes: &[(u16, i8)], words: &[(u16, i32)]) -> i32 {
        let output = self.tensor(Entry::default());
        let (bytes, words) = (bytes.to_vec(), words.to_vec());
        self.steps.push(Step { code, inputs: inputs.to_vec(), output, kind, bytes, words });
        self.outputs = vec![output];
        output
    }

    fn bytes(&self) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let codes: Vec<Table> = self.steps.iter().map(|step| code(&mut builder, step.code)).collect();
        let codes = builder.create_vector(&codes);
        let buffers: Vec<Table> =
            std::iter::once(&Entry::default()).chain(&self.tensors).map(|entry| buffer(&mut builder, entry)).collect();
        let buffers = builder.create_vector(&buffers);
        let tensors: Vec<Table> =
            self.tensors.iter().enumerate().map(|(id, entry)| tensor(&mut builder, id, entry)).collect();
        let tensors = builder.create_vector(&tensors);
        let steps: Vec<Table> =
            self.steps.iter().enumerate().map(|(index, step)| operator(&mut builder, index, step)).collect();
        let steps = builder.create_vector(&steps);
        let [inputs, outputs] = [&self.inputs, &self.outputs].map(|ids| builder.create_vector(ids));
        let start = builder.start_table();
        builder.push_slot_always(slot(0), tensors);
        builder.push_slot_always(slot(1), inputs);
        builder.push_slot_always(slot(2), outputs);
        builder.push_slot_always(slot(3), steps);
        let graph = table(&mut builder, start);
        let graphs = builder.create_vector(&[graph]);
        let start = builder.start_table();
        builder.push_slot(slot(0), self.version, 0);
        builder.push_slot_always(slot(1), codes);
        builder.push_slot_always(slot(2), graphs);
        builder.push_slot_always(slot(4), buffers);
        let model = table(&mut builder, start);
        builder.finish(model, Some("TFL3"));
        builder.finished_data().to_vec()
    }

    fn import(&self) -> Result<Imported, ImportError> {
        let bytes = self.bytes();
        keep_seed("tflite", &bytes);
        imported(&bytes, Path::new("tiny.tflite"))
    }

    fn refusal(&self) -> String {
        self.import().unwrap_err().to_string()
    }
}

type Start = WIPOffset<flatbuffers::TableUnfinishedWIPOffset>;

fn table(builder: &mut FlatBufferBuilder<'_>, start: Start) -> Table {
    WIPOffset::new(builder.end_table(start).value())
}

fn code(builder: &mut FlatBufferBuilder<'_>, code: i32) -> Table {
    let custom = builder.create_string("CONV_2D");
    let start = builder.start_table();
    builder.push_slot_always(slot(0), code.min(127) as i8);
    builder.push_slot_always(slot(3), code);
    if code == 32 {
        builder.push_slot_always(slot(1), custom);
    }
    table(builder, start)
}

fn buffer(builder: &mut FlatBufferBuilder<'_>, entry: &Entry) -> Table {
    let data = builder.create_vector(&entry.data);
    let start = builder.start_table();
    if !entry.data.is_empty() {
        builder.push_slot_always(slot(0), data);
    }
    table(builder, start)
}

fn tensor(builder: &mut FlatBufferBuilder<'_>, id: usize, entry: &Entry) -> Table {
    let shape = builder.create_vector(&entry.shape);
    let name = builder.create_string(&format!("t{id};fused"));
    let scales = builder.create_vector(&entry.scales);
    let zeros = builder.create_vector(&vec![0i64; entry.scales.len()]);
    let start = builder.start_table();
    builder.push_slot_always(slot(2), scales);
    builder.push_slot_always(slot(3), zeros);
    builder.push_slot(slot(6), entry.axis, 0);
    let quantization = table(builder, start);
    let start = builder.start_table();
    builder.push_slot_always(slot(0), shape);
    builder.push_slot(slot(1), entry.element, 0);
    builder.push_slot(slot(2), id as u32 + 1, 0);
    builder.push_slot_always(slot(3), name);
    if !entry.scales.is_empty() {
        builder.push_slot_always(slot(4), quantization);
    }
    table(builder, start)
}

fn operator(builder: &mut FlatBufferBuilder<'_>, index: usize, step: &Step) -> Table {
    let [inputs, outputs] = [&step.inputs, &vec![step.output]].map(|ids| builder.create_vector(ids));
    let start = builder.start_table();
    step.bytes.iter().for_each(|&(number, value)| builder.push_slot_always(slot(number), value));
    step.words.iter().for_each(|&(number, value)| builder.push_slot_always(slot(number), value));
    let options = table(builder, start);
    let start = builder.start_table();
    builder.push_slot(slot(0), index as u32, 0);
    builder.push_slot_always(slot(1), inputs);
    builder.push_slot_always(slot(2), outputs);
    if step.kind != 0 {
        builder.push_slot_always(slot(3), step.kind);
        builder.push_slot_always(slot(4), options);
    }
    table(builder, start)
}

const STRIDE_1: [(u16, i32); 2] = [(1, 1), (2, 1)];
const STRIDE_2: [(u16, i32); 2] = [(1, 2), (2, 2)];

/// Every operator releq takes, one after the other, over a `[n, 6, 6, 2]` image.
fn everything() -> File {
    let mut file = File::new(&[1, 6, 6, 2]);
    let (weight, bias) = (file.counted(&[4, 3, 3, 2]), file.counted(&[4]));
    let a = file.step(3, &[0, weight, bias], 1, &[(0, 0), (3, 1)], &STRIDE_2);
    let weight = file.counted(&[1, 3, 3, 4]);
    let b = file.step(4, &[a, weight, -1], 2, &[(0, 0), (4, 3)], &[(1, 1), (2, 1), (3, 1)]);
    let c = file.step(0, &[b, a], 11, &[(0, 1)], &[]);
    let amounts = file.whole(&[0, 0, 1, 0, 0, 1, 0, 0]);
    let d = file.step(34, &[c, amounts], 22, &[], &[]);
    let weight = file.counted(&[2, 3, 3, 4]);
    let e = file.step(3, &[d, weight], 1, &[(0, 1), (3, 0)], &STRIDE_1);
    let f = file.step(17, &[e], 5, &[(0, 0), (5, 0)], &[(1, 1), (2, 1), (3, 2), (4, 2)]);
    let to = file.whole(&[1, -1]);
    let g = file.step(22, &[f, to], 0, &[], &[]);
    let (weight, bias) = (file.counted(&[3, 8]), file.counted(&[3]));
    let h = file.step(9, &[g, weight, bias], 8, &[(0, 0)], &[]);
    file.step(25, &[h], 9, &[], &[]);
    file
}

#[test]
fn every_operator_becomes_its_layer() {
    let imported = everything().import().unwrap();
    let ops: Vec<(&str, &Op)> =
        imported.network.graph.nodes.iter().map(|node| (node.name.as_str(), &node.op)).collect();
    let conv = |out, window, groups, bias| Op::Conv { out, window, groups, bias };
    let window = |stride, padding| Window { kernel: [3, 3], stride: [stride; 2], padding };
    assert_eq!(
        ops,
        [
            ("conv1", &conv(4, window(2, [0, 0, 1, 1]), 1, true)),
            ("relu1", &Op::Relu),
            ("conv2", &conv(4, window(1, [1; 4]), 4, false)),
            ("relu2", &Op::ClippedRelu { ceiling: 6.0 }),
            ("add1", &Op::Add),
            ("relu3", &Op::Relu),
            ("conv3", &conv(2, window(1, [1, 0, 0, 1]), 1, false)),
            ("maxpool1", &Op::MaxPool { window: Window { kernel: [2, 2], stride: [1, 1], padding: [0, 0, 1, 1] } }),
            ("flatten1", &Op::Flatten),
            ("fc1", &Op::Dense { out: 3, bias: true }),
        ]
    );
    assert_eq!(imported.network.graph.input.shape, [2, 6, 6]);
    let weight = |name: &str| &imported.network.parameters[name];
    assert_eq!(weight("conv1.weight").shape, [4, 2, 3, 3]);
    assert_eq!(weight("conv1.weight").data[..10], [0., 2., 4., 6., 8., 10., 12., 14., 16., 1.]);
    assert_eq!((&weight("conv2.weight").shape[..], weight("conv2.weight").data[1]), (&[4, 1, 3, 3][..], 4.0));
    // Columns of the dense layer: two channels of a 2×2 map, channel by channel.
    assert_eq!(weight("fc1.weight").data[..8], [0., 2., 4., 6., 1., 3., 5., 7.]);
    assert_eq!(
        imported.notes[0],
        "SOFTMAX `t17` was left out; the network gives logits, whose largest is the same class"
    );
}

/// The dot product of a channel-last map with channel-last weights, which the network computes channel by channel.
#[test]
fn a_flattened_map_meets_the_weights_it_was_trained_with() {
    let mut file = File::new(&[1, 2, 3, 2]);
    let weight = file.counted(&[1, 12]);
    file.step(9, &[0, weight], 8, &[], &[]);
    let network = file.import().unwrap().network;
    let channel_last: Vec<f32> = (0..12).map(|at| ((7 * at) % 12) as f32).collect();
    let channel_first: Vec<f32> = (0..12).map(|at| channel_last[(at % 6) * 2 + at / 6]).collect();
    let x = Tensor::from_vec(channel_first, (1, 2, 2, 3), &Device::Cpu).unwrap();
    let logits = Model::new(&network).unwrap().forward(&x, false).unwrap();
    let expected: f32 = channel_last.iter().zip(0..12).map(|(x, weight)| x * weight as f32).sum();
    assert_eq!(logits.to_vec2::<f32>().unwrap(), [[expected]]);
}

/// A fused ReLU comes after; other axes than the last and flattened maps are refused by name.
#[test]
fn joined_maps_are_channels_side_by_side() {
    let joined = |axis: i32| {
        let mut file = File::new(&[1, 6, 6, 2]);
        let (five, three) = (file.counted(&[5, 1, 1, 2]), file.counted(&[3, 1, 1, 2]));
        let a = file.step(3, &[0, five], 1, &[(0, 1)], &STRIDE_1);
        let b = file.step(3, &[0, three], 1, &[(0, 1)], &STRIDE_1);
        let c = file.step(2, &[a, 0, b], 10, &[(1, 1)], &[(0, axis)]);
        let axes = file.whole(&[1, 2]);
        file.step(40, &[c, axes], 27, &[(0, 0)], &[]);
        file
    };
    for axis in [3, -1] {
        let graph = joined(axis).import().unwrap().network.graph;
        let shapes = graph.shapes().unwrap();
        assert_eq!((&graph.nodes[2].op, shapes[2]), (&Op::Concat, [10, 6, 6]));
        assert_eq!(graph.nodes[2].inputs, [Source::Node(0), Source::Input, Source::Node(1)]);
        assert_eq!(graph.nodes[3].op, Op::Relu);
    }
    assert_eq!(
        joined(1).refusal(),
        "cannot import CONCATENATION `t5`: it joins along axis 1; \
         join along the channels, axis 3; releq joins neither rows, columns nor batches"
    );
    let mut file = File::new(&[1, 6, 6, 2]);
    let to = file.whole(&[1, -1]);
    let a = file.step(22, &[0, to], 0, &[], &[]);
    file.step(2, &[a, a], 10, &[], &[(0, 1)]);
    assert_eq!(
        file.refusal(),
        "cannot import CONCATENATION `t3`: it joins flattened maps; join the maps along their channels, then flatten"
    );
}

#[test]
fn features_become_a_map_of_one_channel() {
    let mut file = File::new(&[1, 12]);
    let to = file.whole(&[-1, 4, 3, 1]);
    let map = file.step(22, &[0, to], 0, &[], &[]);
    let axes = file.whole(&[1, 2]);
    file.step(40, &[map, axes], 27, &[(0, 0)], &[]);
    let imported = file.import().unwrap();
    assert_eq!(imported.network.graph.input.shape, [1, 4, 3]);
    let scaled = imported.scaled(0.5, 83).unwrap();
    let input = &scaled.network.graph.input;
    let real = |q: i32| ((q + 128) as f32 / 255.0 - input.mean[0]) / input.std[0];
    for q in [-128, 0, 83, 127] {
        assert!((real(q) - 0.5 * (q - 83) as f32).abs() < 1e-4, "{q}");
    }
    assert!(scaled.notes.is_empty());
}

#[test]
fn int8_weights_are_the_floats_they_stand_for() {
    let mut file = File::new(&[1, 2]);
    let data = [1i8, -2, 127, -128].map(|value| value as u8).to_vec();
    let entry = Entry { shape: vec![2, 2], element: 9, data, scales: vec![0.5, 0.25], axis: 0 };
    let weight = file.tensor(entry.clone());
    file.step(9, &[0, weight], 8, &[], &[]);
    let imported = file.import().unwrap();
    assert_eq!(imported.network.parameters["fc1.weight"].data, [0.5, -1.0, 31.75, -32.0]);
    assert_eq!(imported.notes[0], "weights of 1 layers are int8 in the file; the floats they stand for were taken");
    file.tensors[weight as usize] = Entry { scales: vec![1.0; 3], ..entry };
    assert_eq!(
        file.refusal(),
        "cannot read tensor `t1`: it has 3 scales and 3 zero points for sizes [2, 2] along axis 0; the file is damaged; \
         convert the model again"
    );
}

#[test]
fn everything_that_cannot_be_taken_is_listed() {
    let mut file = File::new(&[1, 6, 6, 2]);
    let weight = file.counted(&[1, 3, 3, 4]);
    let doubled = file.step(4, &[0, weight], 2, &[(0, 0)], &[(1, 1), (2, 1), (3, 2)]);
    file.step(47, &[doubled], 0, &[], &[]);
    let (square, bias) = (file.counted(&[2, 1, 1, 2]), file.counted(&[2]));
    file.step(3, &[0, square, bias], 1, &[(0, 1), (3, 4)], &STRIDE_1);
    file.step(3, &[0, square], 1, &[(0, 1)], &[(1, 1), (2, 1), (4, 2), (5, 2)]);
    file.step(1, &[0], 5, &[(0, 0)], &[(1, 2), (2, 2), (3, 3), (4, 3)]);
    file.step(117, &[0], 0, &[], &[]);
    file.step(200, &[0], 0, &[], &[]);
    file.step(32, &[0, square], 1, &[(0, 1)], &STRIDE_1);
    assert_eq!(
        file.refusal(),
        "cannot import this network for 7 reasons:\n  \
         cannot import DEPTHWISE_CONV_2D `t2`: it makes 4 channels of 2: a depth multiplier of 2; use a depth \
         multiplier of 1\n  \
         cannot import CONV_2D `t6`: its fused activation is TANH; train it with RELU, RELU6 or no activation\n  \
         cannot import CONV_2D `t7`: its dilation is 2×2; use dilation 1; releq has no kernel with gaps\n  \
         cannot import AVERAGE_POOL_2D `t8`: its SAME padding is left out of the mean; use VALID padding, after a PAD \
         or over an image that the windows fit\n  \
         cannot import HARD_SWISH `t9`: releq has no layer for this operator; build the model with CONV_2D, \
         DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, CONCATENATION, RELU, RELU6, MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, \
         RESHAPE and SQUEEZE\n  \
         cannot import a newer operator `t10`: releq has no layer for this operator; build the model with CONV_2D, \
         DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, CONCATENATION, RELU, RELU6, MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, \
         RESHAPE and SQUEEZE\n  \
         cannot import CONV_2D `t11`: releq has no layer for this operator; build the model with CONV_2D, \
         DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, CONCATENATION, RELU, RELU6, MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, \
         RESHAPE and SQUEEZE"
    );
}

#[test]
fn quantized_models_are_refused() {
    let mut file = everything();
    file.tensors[3].element = 9;
    assert_eq!(
        file.refusal(),
        "cannot import tiny.tflite: it is quantized already: its `t3` is int8; import the float model, converted without \
         representative dataset; releq chooses the bits itself"
    );
}

/// Files made to break a reader, each with what its refusal must say.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let changed = |change: fn(&mut File)| {
        let mut file = everything();
        change(&mut file);
        file.bytes()
    };
    let whole = everything().bytes();
    let word = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let root = u32::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let mut identity = whole.clone();
    identity[4..8].copy_from_slice(b"TFL9");
    vec![
        ("empty", Vec::new(), "as TFLite: its 0 bytes do not say TFL3"),
        ("only an identifier", b"\0\0\0\0TFL3".to_vec(), "its schema is version 0"),
        ("another identifier", identity, "do not say TFL3"),
        ("all ones after it", [&b"\x10\0\0\0TFL3"[..], &[0xFF; 64]].concat(), "as TFLite: decoding"),
        ("a root beyond the end", word(0, 0x7FFF_FFF0), "as TFLite: decoding"),
        ("a root at the very end", word(0, whole.len() as u32 - 1), "as TFLite: decoding"),
        ("a root on itself", word(0, 0), "cannot"),
        ("a vtable before the file", word(root, 0x7FFF_FFFF), "as TFLite: decoding"),
        ("a vtable beyond the end", word(root, 0x8000_0000), "as TFLite: decoding"),
        ("half a file", whole[..whole.len() / 2].to_vec(), "as TFLite: decoding"),
        ("all but its end", whole[..whole.len() - 40].to_vec(), "as TFLite: decoding"),
        ("an older schema", changed(|file| file.version = 2), "its schema is version 2, not 3"),
        ("no operators", changed(|file| file.steps.clear()), "it has 0 operators"),
        ("too many operators", changed(|file| file.steps = vec![file.steps[0].clone(); 2000]), "it has 2000 operators"),
        ("no inputs", changed(|file| file.inputs.clear()), "it has 0 inputs"),
        ("an input that is none", changed(|file| file.inputs = vec![9999]), "its input is no tensor of it"),
        ("a negative output", changed(|file| file.outputs = vec![-7]), "its output is no tensor of it"),
        ("a tensor that is none", changed(|file| file.steps[0].inputs[1] = 9999), "is no tensor of the graph"),
        ("an operator on itself", changed(|file| file.steps[0].inputs[0] = file.steps[0].output), "comes from nowhere"),
        ("a ring of operators", changed(|file| file.steps[0].inputs[0] = file.steps[7].output), "comes from nowhere"),
        (
            "an output nobody makes",
            changed(|file| file.outputs = vec![1]),
            "it is not the last operator, over the classes",
        ),
        ("huge images", changed(|file| file.tensors[0].shape = vec![1, 60_000, 60_000, 2]), "its input has sizes"),
        ("negative images", changed(|file| file.tensors[0].shape = vec![1, -6, 6, 2]), "has sizes [1, -6, 6, 2]"),
        ("images of nothing", changed(|file| file.tensors[0].shape = vec![1, 0, 6, 2]), "has sizes [1, 0, 6, 2]"),
        ("huge weights", changed(|file| file.tensors[1].shape = vec![i32::MAX; 4]), "has 72 elements for sizes"),
        ("negative weights", changed(|file| file.tensors[1].shape[0] = -4), "has 72 elements for sizes [-4, 3, 3, 2]"),
        ("weights of rank 9", changed(|file| file.tensors[1].shape = vec![4, 3, 3, 2, 1, 1, 1, 1, 1]), "its weights"),
        ("weights cut short", changed(|file| file.tensors[1].data.truncate(100)), "it has 25 elements for sizes"),
        ("weights of odd length", changed(|file| file.tensors[1].data.truncate(99)), "its 99 bytes are no whole"),
        ("weights that are none", changed(|file| file.tensors[1].data.fill(0xFF)), "it holds NaN"),
        ("weights of half words", changed(|file| file.tensors[1].element = 1), "its element type is float16"),
        ("weights of no type", changed(|file| file.tensors[1].element = -9), "its element type is of number -9"),
        ("a stride of nothing", changed(|file| file.steps[0].words = vec![(1, 0), (2, 0)]), "its stride is 0×0"),
        ("a stride backwards", changed(|file| file.steps[0].words = vec![(1, -1), (2, 1)]), "its stride is 1×-1"),
        (
            "a stride of miles",
            changed(|file| file.steps[0].words = vec![(1, i32::MAX), (2, 1)]),
            "its stride is 1×2147",
        ),
        ("a padding of its own", changed(|file| file.steps[0].bytes = vec![(0, 77)]), "its padding is number 77"),
        ("an activation of its own", changed(|file| file.steps[0].bytes = vec![(3, 77)]), "activation is number 77"),
        ("a pool of miles", changed(|file| file.steps[5].words[2].1 = i32::MIN), "its filter is 2×-2147483648"),
        ("miles of zeros", changed(|file| file.tensors[7].data = vec![0x7F; 32]), "it pads by"),
        ("a reshape to nothing", changed(|file| file.tensors[12].data = vec![0; 8]), "it reshapes"),
    ]
}

#[test]
fn hostile_files_are_refused_within_a_second() {
    let files = hostile();
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for (name, bytes, expected) in files {
        let started = Instant::now();
        let error = imported(&bytes, Path::new("tiny.tflite")).err().map(|error| error.to_string());
        if !error.as_ref().is_some_and(|error| error.contains(expected)) {
            wrong.push((name, expected, error));
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{name} took {:?}", started.elapsed());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One buffer under a thousand layers: a small file that would unfold to more than any board holds.
#[test]
fn shared_weights_do_not_unfold_without_bound() {
    let mut file = File::new(&[1, 1, 1, 512]);
    let weight = file.counted(&[512, 1, 1, 512]);
    let mut last = 0;
    for _ in 0..1000 {
        last = file.step(3, &[last, weight], 1, &[(0, 1)], &STRIDE_1);
    }
    let error = file.refusal();
    assert!(error.contains("its layers have more than 67108864 parameters"), "{error}");
}

/// No prefix of a model, no flipped byte and no wild offset makes the import panic.
#[test]
fn damage_is_an_error_or_harmless() {
    let whole = everything().bytes();
    let import = |bytes: &[u8]| imported(bytes, Path::new("tiny.tflite"));
    assert!(import(&whole).is_ok());
    for length in 0..whole.len() {
        let _ = import(&whole[..length]);
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let _ = import(&damaged);
        }
    }
    for at in (0..whole.len() - 4).step_by(4) {
        for value in [0, 4, 0x100, 0x7FFF_FFFF, 0xFFFF_FFFC, 0u32.wrapping_sub(at as u32)] {
            let mut damaged = whole.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let _ = import(&damaged);
        }
    }
}

/// A model of MLPerf Tiny on this machine: where `RELEQ_DATA` says, or beside the workspace.
fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RELEQ_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let path = root.join("mlperf-tiny/models").join(name);
    if !path.is_file() {
        println!("skipped: no data");
    }
    path.is_file().then_some(path)
}

#[test]
fn mlperf_tiny_imports_with_its_sizes() {
    for (name, input, weighted, sizes) in [
        ("pretrainedResnet.tflite", [3, 32, 32], 10, (77_706, 12_501_632)),
        ("kws_ref_model_float32.tflite", [1, 49, 10], 10, (22_604, 2_656_768)),
        ("vww_96_float.tflite", [3, 96, 96], 28, (210_850, 7_489_664)),
        ("ad01_fp32.tflite", [1, 1, 640], 10, (265_864, 264_192)),
    ] {
        let Some(path) = real(name) else { return };
        let network = tflite(&path).unwrap().network;
        let rows = layer_table(&network).unwrap();
        let totals = (rows.iter().map(|row| row.parameters).sum(), rows.iter().map(|row| row.macs).sum());
        assert_eq!(
            (network.graph.input.shape, network.graph.weighted().len(), totals),
            (input, weighted, sizes),
            "{name}"
        );
    }
}

#[test]
fn a_real_model_damaged_at_random_never_panics() {
    let Some(path) = real("kws_ref_model_float32.tflite") else { return };
    let whole = std::fs::read(path).unwrap();
    let started = Instant::now();
    for step in 0..200usize {
        let at = (step * 7919) % whole.len();
        assert!(imported(&whole[..at], Path::new("cut.tflite")).is_err(), "a prefix of {at} bytes imported");
        let mut damaged = whole.clone();
        damaged[at] ^= 0xA5;
        let _ = imported(&damaged, Path::new("damaged.tflite"));
    }
    assert!(started.elapsed() < Duration::from_secs(200), "{:?}", started.elapsed());
}
