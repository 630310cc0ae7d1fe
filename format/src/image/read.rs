//! Reads records from the bytes that postcard writes, in a fifth of the code that serde takes for it on a device.
//!
//! A record is read to its end whatever it holds: where a byte is missing or a value does not exist, the [`Reader`] is
//! spoilt and goes on with a stand-in. So there is one test for a record, and none for each of its fields.

use super::{Header, SelfTest};
use crate::bits::{BitWidth, Levels};
use crate::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use crate::pack::Layout;
use crate::quant::AddScale;

/// Values one after another, out of bytes that may hold anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    spoilt: bool,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, spoilt: false }
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all that was read so far was there.
    pub(super) const fn is_sound(&self) -> bool {
        !self.spoilt
    }

    /// The record before the layers.
    pub(super) fn header(&mut self) -> Header<'a> {
        Header {
            name: self.text(),
            input: self.tensor(),
            input_scale: self.word(),
            normalisation: self.bytes(),
            logit_scale: self.word(),
            self_test: SelfTest { seed: self.word(), digest: self.word() },
            layers: self.half(),
        }
    }

    /// The record of a layer.
    #[inline(never)]
    pub(super) fn layer(&mut self) -> LayerRecord<'a> {
        LayerRecord {
            name: self.text(),
            op: self.op(),
            inputs: [self.half(), self.half()],
            output: self.tensor(),
            scratch: Region { offset: self.word(), bytes: self.word() },
            kernel: KernelHint(self.byte()),
        }
    }

    fn op(&mut self) -> Op {
        match self.word() {
            0 => Op::Conv2d { window: self.window(), weights: self.weights() },
            1 => Op::Depthwise { window: self.window(), weights: self.weights() },
            2 => Op::Dense { weights: self.weights() },
            3 => Op::MaxPool { window: self.window() },
            4 => Op::AvgPool {
                window: self.window(),
                shift: self.byte(),
                bias: self.signed(32),
                multiplier: self.signed(32),
            },
            5 => Op::Add {
                scale: AddScale {
                    multipliers: [self.signed(16) as i16, self.signed(16) as i16],
                    constant: self.signed(32),
                    shift: self.byte(),
                },
            },
            number => self.known((number == 6).then_some(Op::Concat), Op::Concat),
        }
    }

    #[inline(never)]
    fn tensor(&mut self) -> TensorRecord {
        TensorRecord {
            height: self.half(),
            width: self.half(),
            channels: self.half(),
            bits: self.width(),
            zero_point: self.byte(),
            storage: self.storage(),
            offset: self.word(),
        }
    }

    fn storage(&mut self) -> Storage {
        let storage = match self.word() {
            0 => Some(Storage::Bits1),
            1 => Some(Storage::Bits2),
            2 => Some(Storage::Bits4),
            3 => Some(Storage::Bits8),
            4 => Some(Storage::Logits),
            _ => None,
        };
        self.known(storage, Storage::Logits)
    }

    #[inline(never)]
    fn window(&mut self) -> Window {
        Window {
            kernel: [self.byte(), self.byte()],
            stride: [self.byte(), self.byte()],
            padding: [self.byte(), self.byte(), self.byte(), self.byte()],
        }
    }

    #[inline(never)]
    fn weights(&mut self) -> Weights {
        Weights {
            bits: self.width(),
            levels: self.levels(),
            layout: self.layout(),
            shift: self.byte(),
            codes: self.word(),
            channels: self.word(),
        }
    }

    fn levels(&mut self) -> Levels {
        let levels = match self.word() {
            0 => Some(Levels::TwosComplement),
            1 => Some(Levels::MidTread),
            2 => Some(Levels::MidRise),
            _ => None,
        };
        self.known(levels, Levels::MidRise)
    }

    fn layout(&mut self) -> Layout {
        let layout = match self.word() {
            0 => Some(Layout::Bytes),
            1 => Some(Layout::RowPairs),
            2 => Some(Layout::Rows),
            3 => Some(Layout::Lanes),
            4 => Some(Layout::Ends),
            _ => None,
        };
        self.known(layout, Layout::Ends)
    }

    fn width(&mut self) -> BitWidth {
        let bits = self.byte();
        self.known(BitWidth::new(bits), BitWidth::EIGHT)
    }

    /// A value that exists, or a stand-in.
    fn known<T>(&mut self, value: Option<T>, stand_in: T) -> T {
        self.spoilt |= value.is_none();
        value.unwrap_or(stand_in)
    }

    fn text(&mut self) -> &'a str {
        let text = core::str::from_utf8(self.bytes()).ok();
        self.known(text, "")
    }

    #[inline(never)]
    fn bytes(&mut self) -> &'a [u8] {
        let length = self.word() as usize;
        let (bytes, rest) = self.known(self.rest.split_at_checked(length), (&[], &[]));
        self.rest = rest;
        bytes
    }

    fn half(&mut self) -> u16 {
        self.varint(16) as u16
    }

    #[inline(never)]
    fn word(&mut self) -> u32 {
        self.varint(32)
    }

    /// A signed integer of `bits` bits, whose sign is its lowest bit.
    #[inline(never)]
    fn signed(&mut self, bits: u32) -> i32 {
        let zigzag = self.varint(bits);
        (zigzag >> 1) as i32 ^ -((zigzag & 1) as i32)
    }

    /// An integer of `bits` bits, 16 or 32, seven a byte from the low ones up; a set top bit says that more follow.
    #[inline(never)]
    fn varint(&mut self, bits: u32) -> u32 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = u32::from(self.byte());
            value |= (byte & 0x7F) << (shift & 31);
            shift += 7;
            if shift >= bits {
                // The last byte it may have: no more bits than are left, and none to say that more follow.
                self.spoilt |= byte >> (7 + bits - shift) != 0;
                return value;
            }
            if byte < 0x80 {
                return value;
            }
        }
    }

    #[inline(never)]
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.known(self.rest.split_first(), (&0, &[]));
        self.rest = rest;
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde::Deserialize;

    /// Room for any record that is written here.
    const ROOM: usize = 256;

    fn width() -> impl Strategy<Value = BitWidth> {
        (1u8..=8).prop_map(|bits| BitWidth::new(bits).expect("1..=8"))
    }

    /// Integers of all lengths, since their bits are what a varint is cut into.
    fn word() -> impl Strategy<Value = u32> {
        (any::<u32>(), 0u32..32).prop_map(|(word, shift)| word >> shift)
    }

    fn half() -> impl Strategy<Value = u16> {
        (any::<u16>(), 0u32..16).prop_map(|(half, shift)| half >> shift)
    }

    fn tensor() -> impl Strategy<Value = TensorRecord> {
        const STORAGES: &[Storage] = &[Storage::Bits1, Storage::Bits2, Storage::Bits4, Storage::Bits8, Storage::Logits];
        (half(), half(), half(), width(), any::<u8>(), select(STORAGES), word()).prop_map(
            |(height, width, channels, bits, zero_point, storage, offset)| TensorRecord {
                height,
                width,
                channels,
                bits,
                zero_point,
                storage,
                offset,
            },
        )
    }

    fn window() -> impl Strategy<Value = Window> {
        any::<([u8; 2], [u8; 2], [u8; 4])>().prop_map(|(kernel, stride, padding)| Window { kernel, stride, padding })
    }

    fn weights() -> impl Strategy<Value = Weights> {
        const LEVELS: &[Levels] = &[Levels::TwosComplement, Levels::MidTread, Levels::MidRise];
        const LAYOUTS: &[Layout] = &[Layout::Bytes, Layout::RowPairs, Layout::Rows, Layout::Lanes, Layout::Ends];
        (width(), select(LEVELS), select(LAYOUTS), any::<u8>(), word(), word()).prop_map(
            |(bits, levels, layout, shift, codes, channels)| Weights { bits, levels, layout, shift, codes, channels },
        )
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (window(), weights()).prop_map(|(window, weights)| Op::Conv2d { window, weights }),
            (window(), weights()).prop_map(|(window, weights)| Op::Depthwise { window, weights }),
            weights().prop_map(|weights| Op::Dense { weights }),
            window().prop_map(|window| Op::MaxPool { window }),
            (window(), any::<(u8, i32, i32)>()).prop_map(|(window, (shift, bias, multiplier))| Op::AvgPool {
                window,
                shift,
                bias,
                multiplier
            }),
            any::<([i16; 2], i32, u8)>().prop_map(|(multipliers, constant, shift)| Op::Add {
                scale: AddScale { multipliers, constant, shift }
            }),
            Just(Op::Concat),
        ]
    }

    prop_compose! {
        fn layer()(name in "\\PC{0,9}", op in op(), inputs in [half(), half()], output in tensor(),
                   offset in word(), bytes in word(), kernel: u8) -> [u8; ROOM] {
            let scratch = Region { offset, bytes };
            written(&LayerRecord { name: &name, op, inputs, output, scratch, kernel: KernelHint(kernel) })
        }
    }

    prop_compose! {
        fn header()(name in "\\PC{0,9}", input in tensor(), input_scale in word(), normalisation in vec(any::<u8>(), 0..33),
                    logit_scale in word(), seed in word(), digest in word(), layers in half()) -> [u8; ROOM] {
            let self_test = SelfTest { seed, digest };
            written(&Header { name: &name, input, input_scale, normalisation: &normalisation, logit_scale, self_test, layers })
        }
    }

    /// As postcard writes it, and zeros up to the end.
    fn written(record: &impl serde::Serialize) -> [u8; ROOM] {
        let mut bytes = [0; ROOM];
        postcard::to_slice(record, &mut bytes).expect("there is room for any record");
        bytes
    }

    /// What may happen to a record: some bytes become others, and it is cut.
    type Damage = (Vec<(usize, u8)>, usize);

    fn damage() -> impl Strategy<Value = Damage> {
        let byte = prop_oneof![any::<u8>(), select(&[0x00, 0x01, 0x7F, 0x80, 0xFF])];
        (vec((0usize..80, byte), 0..6), prop_oneof![Just(ROOM), 0usize..120])
    }

    fn damaged(mut bytes: [u8; ROOM], (changes, length): Damage) -> Vec<u8> {
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes[..length].to_vec()
    }

    /// Whether `read` takes out of `bytes` what postcard takes, and leaves what postcard leaves.
    ///
    /// One difference is meant: where `usize` has 64 bits, postcard takes a length of more than five bytes. A device
    /// never did, and now nothing does.
    fn as_postcard<'a, T: Deserialize<'a> + PartialEq>(bytes: &'a [u8], read: fn(&mut Reader<'a>) -> T) -> bool {
        let continued = |run: &[u8]| run.iter().all(|byte| byte & 0x80 != 0);
        let mut reader = Reader::new(bytes);
        let record = read(&mut reader);
        match (reader.is_sound(), postcard::take_from_bytes(bytes).ok()) {
            (false, None) => true,
            (false, Some(_)) => bytes.windows(5).any(continued),
            (true, oracle) => Some((record, reader.rest())) == oracle,
        }
    }

    fn reads_a_layer(bytes: &[u8]) -> bool {
        as_postcard(bytes, Reader::layer)
    }

    fn reads_a_header(bytes: &[u8]) -> bool {
        as_postcard(bytes, Reader::header)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 4096 }))]

        #[test]
        fn layers_are_what_postcard_reads(bytes in layer(), damage in damage()) {
            prop_assert!(reads_a_layer(&bytes));
            prop_assert!(reads_a_layer(&damaged(bytes, damage)));
        }

        #[test]
        fn headers_are_what_postcard_reads(bytes in header(), damage in damage()) {
            prop_assert!(reads_a_header(&bytes));
            prop_assert!(reads_a_header(&damaged(bytes, damage)));
        }

        #[test]
        fn anything_is_read_as_postcard_reads_it(bytes in vec(prop_oneof![0u8..9, any::<u8>()], 0..90)) {
            prop_assert!(reads_a_layer(&bytes) && reads_a_header(&bytes));
        }
    }

    #[test]
    fn integers_end_where_their_bits_do() {
        let half = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let value = reader.half();
            (!reader.spoilt).then_some(value)
        };
        assert_eq!(half(&[0xFF, 0xFF, 0x03]), Some(u16::MAX));
        assert_eq!(half(&[0x81, 0x80, 0x00]), Some(1));
        assert_eq!(half(&[0xFF, 0xFF, 0x04]), None);
        assert_eq!(half(&[0xFF, 0xFF, 0x83]), None);
        assert_eq!(half(&[0xFF]), None);
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).signed(32), i32::MIN);
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0x03]).signed(16), i32::from(i16::MIN));
    }
}
