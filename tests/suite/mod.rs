//! The kernel suite: small random networks over every op, width, layout and storage, with a naive interpreter of
//! their meaning that shares no loop with the engine. Runners (native, virtual boards) live in the test files.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the suite")]

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use releq_format::image::{Header, ImageBuffer, ImageBuilder, SelfTest};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::{AddScale, Bound, Channel, logit, requantize};

/// What weights and inputs are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Random,
    /// Every weight and code the largest: finds lanes and accumulators that overflow.
    Largest,
    /// Every weight the smallest, every code the largest.
    Smallest,
    /// Every weight the smallest and every code 0: the largest products of codes less the middle of their range.
    Least,
}

/// One layer with its constants in the clear.
#[derive(Clone, Debug)]
pub struct TestLayer {
    pub op: Op,
    pub inputs: [u16; 2],
    pub output: TensorRecord,
    pub weights: Vec<i8>,
    pub channels: Vec<Channel>,
}

/// A network with its constants in the clear.
#[derive(Clone, Debug)]
pub struct TestNet {
    pub input: TensorRecord,
    pub layers: Vec<TestLayer>,
    pub fill: Fill,
    rng: ChaCha8Rng,
}

pub fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).expect("1..=8")
}

fn tensor(shape: [u16; 3], bits: u8, zero_point: u8, storage: Storage) -> TensorRecord {
    let [height, width_, channels] = shape;
    TensorRecord { height, width: width_, channels, bits: width(bits), zero_point, storage, offset: 0 }
}

/// A square window that slides by one.
pub fn square(kernel: u8, padding: u8) -> Window {
    Window { kernel: [kernel; 2], stride: [1; 2], padding: [padding; 4] }
}

/// The narrowest storage, or sometimes a wider one, as a planner may choose.
fn storage(rng: &mut ChaCha8Rng, bits: u8) -> Storage {
    if rng.random_bool(0.3) { Storage::Bits8 } else { Storage::narrowest(width(bits)) }
}

impl TestNet {
    /// A network without layers whose input has `shape` (height, width, channels) and `bits`.
    pub fn new(seed: u64, fill: Fill, shape: [u16; 3], bits: u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let zero_point = rng.random_range(0..=width(bits).max_code());
        let storage = storage(&mut rng, bits);
        Self { input: tensor(shape, bits, zero_point, storage), layers: Vec::new(), fill, rng }
    }

    /// A chain of 2 to 6 random layers that ends in a dense one.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5EED);
        let fill = [Fill::Random, Fill::Random, Fill::Largest, Fill::Smallest][rng.random_range(0..4)];
        let shape = [rng.random_range(1..9), rng.random_range(1..9), rng.random_range(1..20)];
        let mut net = Self::new(seed, fill, shape, rng.random_range(1..=8));
        for _ in 0..rng.random_range(1..6) {
            let bits = rng.random_range(1..=8);
            match rng.random_range(0..7) {
                0 | 1 => net.conv(rng.random_range(1..18), rng.random_range(1..=8), bits),
                2 => net.depthwise(rng.random_range(1..=8), bits),
                3 => net.maxpool(),
                4 => net.avgpool(bits),
                5 => net.concat(rng.random_range(1..12), rng.random_range(1..=8), rng.random_bool(0.5)),
                _ => net.add(bits),
            };
        }
        net.dense(rng.random_range(1..12), rng.random_range(1..=8), None)
    }

    pub fn last(&self) -> TensorRecord {
        self.layers.last().map_or(self.input, |layer| layer.output)
    }

    fn last_id(&self) -> u16 {
        self.layers.len() as u16
    }

    /// A window that fits the last tensor; padded and strided at random.
    fn window(&mut self) -> Window {
        let TensorRecord { height, width, .. } = self.last();
        let mut side = |size: u16| {
            let kernel = self.rng.random_range(1..=5u8.min(size as u8 + 1));
            let mut padding = || self.rng.random_range(0..kernel.min(3));
            let (mut before, after) = (padding(), padding());
            if u16::from(kernel) > size + u16::from(before) + u16::from(after) {
                before = (kernel - 1).min((u16::from(kernel) - size) as u8);
            }
            (kernel, self.rng.random_range(1..=3), before, after)
        };
        let (rows, columns) = (side(height), side(width));
        Window {
            kernel: [rows.0, columns.0],
            stride: [rows.1, columns.1],
            padding: [rows.2, columns.2, rows.3, columns.3],
        }
    }

    fn slid(&self, window: &Window) -> [u16; 2] {
        let TensorRecord { height, width, .. } = self.last();
        window.output(height, width).expect("windows are made to fit")
    }

    pub fn conv(&mut self, out: u16, bits: u8, activations: u8) -> &mut Self {
        let window = self.window();
        let [height, width] = self.slid(&window);
        let op = |weights| Op::Conv2d { window, weights };
        self.weighted(op, [height, width, out], bits, Some(activations), Layout::RowPairs)
    }

    /// A convolution of this very window, with weights in lanes or at the ends of halves.
    pub fn conv_of(&mut self, window: Window, out: u16, bits: u8, activations: u8) -> &mut Self {
        let [height, width] = self.slid(&window);
        self.weighted(
            |weights| Op::Conv2d { window, weights },
            [height, width, out],
            bits,
            Some(activations),
            Layout::Lanes,
        )
    }

    /// A convolution of this very window, with weights at the ends of halves.
    pub fn conv_in_ends(&mut self, window: Window, out: u16, bits: u8, activations: u8) -> &mut Self {
        let [height, width] = self.slid(&window);
        let op = |weights| Op::Conv2d { window, weights };
        self.weighted(op, [height, width, out], bits, Some(activations), Layout::Ends)
    }

    /// A dense layer with weights in lanes or at the ends of halves.
    pub fn dense_of(&mut self, out: u16, bits: u8, activations: u8) -> &mut Self {
        self.weighted(|weights| Op::Dense { weights }, [1, 1, out], bits, Some(activations), Layout::Lanes)
    }

    pub fn depthwise(&mut self, bits: u8, activations: u8) -> &mut Self {
        let window = self.window();
        self.depthwise_of(window, bits, activations)
    }

    /// A depthwise convolution of this very window.
    pub fn depthwise_of(&mut self, window: Window, bits: u8, activations: u8) -> &mut Self {
        let [height, width] = self.slid(&window);
        let op = |weights| Op::Depthwise { window, weights };
        let channels = self.last().channels;
        self.weighted(op, [height, width, channels], bits, Some(activations), Layout::Rows)
    }

    /// Fully connected; logits unless `activations` are given.
    pub fn dense(mut self, out: u16, bits: u8, activations: Option<u8>) -> Self {
        self.weighted(|weights| Op::Dense { weights }, [1, 1, out], bits, activations, Layout::RowPairs);
        self
    }

    fn weighted(
        &mut self,
        op: impl Fn(Weights) -> Op,
        shape: [u16; 3],
        bits: u8,
        activations: Option<u8>,
        packed: Layout,
    ) -> &mut Self {
        let input = self.last();
        let levels = self.levels(bits);
        let lanes = packed == Layout::Lanes || (packed == Layout::RowPairs && self.rng.random_bool(0.7));
        let ends = packed == Layout::Ends || (lanes && bits <= 4 && self.rng.random_bool(0.5));
        let layout = match bits {
            _ if ends => Layout::Ends,
            _ if lanes => Layout::Lanes,
            8 => Layout::Bytes,
            _ => packed,
        };
        let encoding = Weights { bits: width(bits), levels, layout, shift: 0, codes: 0, channels: 0 };
        let output = match activations {
            Some(bits) => {
                let zero_point = self.rng.random_range(0..=width(bits).max_code());
                tensor(shape, bits, zero_point, storage(&mut self.rng, bits))
            }
            None => tensor(shape, 8, 0, Storage::Logits),
        };
        let matrix = op(encoding).matrix(&input, &output).expect("small");
        let weights = (0..matrix.rows * matrix.columns).map(|_| self.level(levels, width(bits))).collect();
        let terms = op(encoding).terms(&input).expect("small");
        let bound = Bound::new(levels.magnitude(width(bits)), input.bits, terms);
        let biases: Vec<i32> = (0..shape[2]).map(|_| self.rng.random_range(-5000..5000)).collect();
        let largest = biases.iter().copied().max_by_key(|bias| bias.unsigned_abs()).unwrap_or(0);
        let shift = bound.largest_shift(largest).expect("small");
        let channels =
            biases.into_iter().map(|bias| Channel { bias, multiplier: self.multiplier(shift, terms) }).collect();
        let op = op(Weights { shift, ..encoding });
        self.layers.push(TestLayer { op, inputs: [self.last_id(), 0], output, weights, channels });
        self
    }

    /// A ratio that spreads typical sums over the output codes, and now and then saturates them.
    fn multiplier(&mut self, shift: u8, terms: u32) -> i32 {
        let typical = (f64::from(terms).sqrt() * self.rng.random_range(2.0..400.0)) * f64::from(1u32 << shift);
        ((1u64 << 40) as f64 * 100.0 / typical).clamp(1.0, f64::from(i32::MAX)) as i32
    }

    fn levels(&mut self, bits: u8) -> Levels {
        match (bits, self.rng.random_range(0..3)) {
            (1, 1) | (8, 2) => Levels::TwosComplement,
            (_, 0) => Levels::TwosComplement,
            (_, 1) => Levels::MidTread,
            _ => Levels::MidRise,
        }
    }

    fn level(&mut self, levels: Levels, bits: BitWidth) -> i8 {
        let smallest = u8::from(levels == Levels::MidTread);
        let code = match self.fill {
            Fill::Random => self.rng.random_range(smallest..=bits.max_code()),
            Fill::Largest => bits.max_code(),
            Fill::Smallest | Fill::Least => smallest,
        };
        levels.value(code, bits) as i8
    }

    pub fn maxpool(&mut self) -> &mut Self {
        let window = self.window();
        self.maxpool_of(window)
    }

    /// A max pool of this very window.
    pub fn maxpool_of(&mut self, window: Window) -> &mut Self {
        let [height, width] = self.slid(&window);
        let input = self.last();
        let output = TensorRecord { height, width, ..input };
        self.plain(Op::MaxPool { window }, [self.last_id(), 0], output)
    }

    pub fn avgpool(&mut self, bits: u8) -> &mut Self {
        let window = self.window();
        self.avgpool_of(window, bits)
    }

    /// An average pool of this very window.
    pub fn avgpool_of(&mut self, window: Window, bits: u8) -> &mut Self {
        let [height, width_] = self.slid(&window);
        let input = self.last();
        let zero_point = self.rng.random_range(0..=width(bits).max_code());
        let bias = -(window.taps() as i32) * i32::from(input.zero_point);
        let shift = Bound::new(1, input.bits, window.taps()).largest_shift(bias).expect("small");
        let ratio = f64::from(width(bits).max_code()) / f64::from(input.bits.max_code()) / f64::from(window.taps());
        let multiplier = (ratio * 2f64.powi(40 - i32::from(shift))).min(f64::from(i32::MAX)) as i32;
        let output = tensor([height, width_, input.channels], bits, zero_point, storage(&mut self.rng, bits));
        self.plain(Op::AvgPool { window, shift, bias, multiplier }, [self.last_id(), 0], output)
    }

    /// Adds the last tensor to an earlier one of its shape, or to itself.
    pub fn add(&mut self, bits: u8) -> &mut Self {
        let shape = |tensor: &TensorRecord| [tensor.height, tensor.width, tensor.channels];
        let tensors: Vec<TensorRecord> =
            std::iter::once(self.input).chain(self.layers.iter().map(|layer| layer.output)).collect();
        let equal: Vec<u16> =
            (0..tensors.len()).filter(|&id| shape(&tensors[id]) == shape(&self.last())).map(|id| id as u16).collect();
        let other = equal[self.rng.random_range(0..equal.len())];
        let mut ratio = || self.rng.random_range(1 << 12..1 << 14);
        let multipliers = [ratio(), ratio()];
        let constant = self.rng.random_range(-(1 << 20)..1 << 20);
        self.add_of(AddScale { multipliers, constant, shift: 14 }, other, bits)
    }

    /// Adds the last tensor and this one at these very scales.
    pub fn add_of(&mut self, scale: AddScale, other: u16, bits: u8) -> &mut Self {
        let TensorRecord { height, width: columns, channels, .. } = self.last();
        let zero_point = self.rng.random_range(0..=width(bits).max_code());
        let output = tensor([height, columns, channels], bits, zero_point, storage(&mut self.rng, bits));
        self.plain(Op::Add { scale }, [self.last_id(), other], output)
    }

    /// Joins the last tensor and `out` channels that a convolution of single pixels makes of it, in either order.
    pub fn concat(&mut self, out: u16, bits: u8, behind: bool) -> &mut Self {
        let (from, left) = (self.last(), self.last_id());
        self.conv_of(square(1, 0), out, bits, from.bits.get());
        let TensorRecord { bits, zero_point, storage, .. } = from;
        let joined = &mut self.layers.last_mut().expect("a convolution").output;
        *joined = TensorRecord { bits, zero_point, storage, ..*joined };
        let output = TensorRecord { channels: from.channels + out, ..from };
        let inputs = if behind { [left, self.last_id()] } else { [self.last_id(), left] };
        self.plain(Op::Concat, inputs, output)
    }

    /// Joins the last tensor to itself.
    pub fn twice(&mut self) -> &mut Self {
        let (from, id) = (self.last(), self.last_id());
        self.plain(Op::Concat, [id, id], TensorRecord { channels: 2 * from.channels, ..from })
    }

    /// A network of long sums: 576 products each in a convolution, 2060 in a dense layer.
    pub fn long_sums(fill: Fill, weights: u8, activations: u8) -> Self {
        let mut net = Self::new(u64::from(weights), fill, [5, 4, 64], activations);
        net.conv_of(square(3, 1), 103, weights, activations);
        net.dense_of(5, weights, activations);
        net.dense(3, weights, None)
    }

    fn plain(&mut self, op: Op, inputs: [u16; 2], output: TensorRecord) -> &mut Self {
        self.layers.push(TestLayer { op, inputs, output, weights: Vec::new(), channels: Vec::new() });
        self
    }

    /// The image, with every tensor at its own place and scratch for any kernel.
    pub fn image(&self, hint: KernelHint) -> ImageBuffer {
        self.image_with(hint, SelfTest { seed: 0, digest: 0 })
    }

    /// The image with a known answer to check itself by.
    pub fn image_with(&self, hint: KernelHint, self_test: SelfTest) -> ImageBuffer {
        let mut next = 0u32;
        let mut place = |bytes: u32| {
            let offset = next;
            next += bytes.next_multiple_of(4);
            Region { offset, bytes }
        };
        let input = TensorRecord { offset: place(self.input.bytes().expect("small")).offset, ..self.input };
        let mut builder = ImageBuilder::new();
        let mut placed = vec![input];
        for (index, layer) in self.layers.iter().enumerate() {
            let output = TensorRecord { offset: place(layer.output.bytes().expect("small")).offset, ..layer.output };
            let from = placed[usize::from(layer.inputs[0])];
            let scratch = releq_device::kernels::hinted_scratch_bytes(hint, &layer.op, &from, &output);
            let op = self.packed(&mut builder, layer, &from, &output);
            builder.layer(&LayerRecord {
                name: &format!("layer{index}"),
                op,
                inputs: layer.inputs,
                output,
                scratch: place(scratch),
                kernel: hint,
            });
            placed.push(output);
        }
        let normalisation = vec![0; 8 * usize::from(input.channels)];
        let header = Header {
            name: "suite",
            input,
            input_scale: 1f32.to_bits(),
            normalisation: &normalisation,
            logit_scale: 1f32.to_bits(),
            self_test,
            layers: 0,
        };
        builder.finish(header, next).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    fn packed(&self, builder: &mut ImageBuilder, layer: &TestLayer, from: &TensorRecord, to: &TensorRecord) -> Op {
        let mut op = layer.op;
        let matrix: Option<Matrix> = op.matrix(from, to);
        if let Op::Conv2d { weights, .. } | Op::Depthwise { weights, .. } | Op::Dense { weights } = &mut op {
            let section = matrix.expect("weighted").pack(&layer.weights).expect("levels of the set");
            weights.codes = builder.section(&section);
            weights.channels = builder.channels(&layer.channels);
        }
        op
    }

    /// Input codes, one a byte, NHWC.
    pub fn input_codes(&mut self) -> Vec<u8> {
        let largest = self.input.bits.max_code();
        let code = |_| match self.fill {
            Fill::Random => self.rng.random_range(0..=largest),
            Fill::Largest | Fill::Smallest => largest,
            Fill::Least => 0,
        };
        (0..self.input.elements().expect("small")).map(code).collect()
    }

    /// Every layer's output by definition: codes, or logits in the last.
    pub fn naive(&self, input: &[u8]) -> Vec<Vec<i64>> {
        let mut tensors: Vec<(TensorRecord, Vec<i64>)> =
            vec![(self.input, input.iter().map(|&code| i64::from(code)).collect())];
        for layer in &self.layers {
            let (left, right) = (&tensors[usize::from(layer.inputs[0])], &tensors[usize::from(layer.inputs[1])]);
            let values = naive_layer(layer, left, right);
            tensors.push((layer.output, values));
        }
        tensors.into_iter().skip(1).map(|(_, values)| values).collect()
    }
}

/// Packs codes as a tensor stores them.
pub fn store(record: &TensorRecord, codes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; record.bytes().expect("small") as usize];
    let lane = record.storage.bits() as usize;
    for (pixel, codes) in
        bytes.chunks_mut(record.pixel_bytes() as usize).zip(codes.chunks(usize::from(record.channels)))
    {
        for (index, code) in codes.iter().enumerate() {
            pixel[index * lane / 8] |= code << (index * lane % 8);
        }
    }
    bytes
}

/// What a layer's bytes must be, from the naive values.
pub fn expected_bytes(record: &TensorRecord, values: &[i64]) -> Vec<u8> {
    if record.storage == Storage::Logits {
        return values.iter().flat_map(|&value| i32::try_from(value).expect("logits fit").to_le_bytes()).collect();
    }
    store(record, &values.iter().map(|&value| value as u8).collect::<Vec<_>>())
}

fn naive_layer(layer: &TestLayer, left: &(TensorRecord, Vec<i64>), right: &(TensorRecord, Vec<i64>)) -> Vec<i64> {
    let (record, codes) = left;
    let [height, width, channels] = [record.height, record.width, record.channels].map(i64::from);
    let at = |y: i64, x: i64, c: i64| {
        let inside = (0..height).contains(&y) && (0..width).contains(&x);
        inside.then(|| codes[((y * width + x) * channels + c) as usize])
    };
    let zero = i64::from(record.zero_point);
    let mut values = Vec::new();
    for y in 0..i64::from(layer.output.height) {
        for x in 0..i64::from(layer.output.width) {
            for c in 0..i64::from(layer.output.channels) {
                let window_of = |window: &Window| {
                    let [top, left, ..] = window.padding.map(i64::from);
                    let (y, x) = (y * i64::from(window.stride[0]) - top, x * i64::from(window.stride[1]) - left);
                    let [rows, columns] = window.kernel.map(i64::from);
                    (0..rows).flat_map(move |ky| (0..columns).map(move |kx| (y + ky, x + kx)))
                };
                let weight = |index: i64| i64::from(layer.weights[index as usize]);
                let value = match &layer.op {
                    Op::Conv2d { window, weights } => {
                        let terms = window_of(window).flat_map(|(y, x)| (0..channels).map(move |c| (y, x, c)));
                        let row = c * i64::from(window.taps()) * channels;
                        let sum: i64 = terms
                            .enumerate()
                            .map(|(k, (y, x, c))| weight(row + k as i64) * at(y, x, c).unwrap_or(zero))
                            .sum();
                        finish(layer, weights.shift, layer.channels[c as usize], sum)
                    }
                    Op::Depthwise { window, weights } => {
                        let sum: i64 = window_of(window)
                            .enumerate()
                            .map(|(tap, (y, x))| weight(tap as i64 * channels + c) * at(y, x, c).unwrap_or(zero))
                            .sum();
                        finish(layer, weights.shift, layer.channels[c as usize], sum)
                    }
                    Op::Dense { weights } => {
                        let row = c * codes.len() as i64;
                        let sum: i64 = codes.iter().enumerate().map(|(k, code)| weight(row + k as i64) * code).sum();
                        finish(layer, weights.shift, layer.channels[c as usize], sum)
                    }
                    Op::MaxPool { window } => window_of(window).filter_map(|(y, x)| at(y, x, c)).max().unwrap(),
                    Op::AvgPool { window, shift, bias, multiplier } => {
                        let sum: i64 = window_of(window).map(|(y, x)| at(y, x, c).unwrap_or(zero)).sum();
                        finish(layer, *shift, Channel { bias: *bias, multiplier: *multiplier }, sum)
                    }
                    Op::Concat if c < channels => at(y, x, c).unwrap(),
                    Op::Concat => {
                        let others = i64::from(right.0.channels);
                        right.1[((y * width + x) * others + c - channels) as usize]
                    }
                    Op::Add { scale } => {
                        let index = ((y * width + x) * channels + c) as usize;
                        i64::from(scale.apply(codes[index] as u8, right.1[index] as u8, layer.output.bits))
                    }
                };
                values.push(value);
            }
        }
    }
    values
}

fn finish(layer: &TestLayer, shift: u8, channel: Channel, sum: i64) -> i64 {
    let acc = i32::try_from(sum + i64::from(channel.bias)).expect("the bound holds");
    assert!(i32::try_from(i64::from(acc) << shift).is_ok(), "the bound holds after the shift");
    match layer.output.storage {
        Storage::Logits => i64::from(logit(acc, shift, channel.multiplier)),
        _ => i64::from(requantize(acc, shift, channel.multiplier, layer.output.zero_point, layer.output.bits)),
    }
}
