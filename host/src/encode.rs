//! Pixels to input codes, as the image's header says: the host makes codes, the device takes codes.

use releq_format::graph::TensorRecord;
use releq_format::image::Header;

use crate::quantized::ActivationQuant;

/// Turns NCHW pixels into the packed NHWC codes of one image's input.
#[derive(Clone, Debug)]
pub struct Encoder {
    record: TensorRecord,
    /// The code of each pixel value, per channel.
    tables: Vec<[u8; 256]>,
}

impl Encoder {
    /// The encoder of an image.
    pub fn new(header: &Header<'_>) -> Self {
        let quant = ActivationQuant {
            bits: header.input.bits,
            scale: f32::from_bits(header.input_scale),
            zero_point: header.input.zero_point,
        };
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
        let table = |pair: &[u8]| {
            let (mean, std) = (word(pair), word(&pair[4..]));
            std::array::from_fn(|pixel| quant.code((pixel as f32 / 255.0 - mean) / std))
        };
        Self { record: header.input, tables: header.normalisation.chunks_exact(8).map(table).collect() }
    }

    /// Bytes of one packed input.
    pub fn input_bytes(&self) -> usize {
        self.record.bytes().map_or(0, |bytes| bytes as usize)
    }

    /// Channels, height and width of the pixels it takes.
    pub fn shape(&self) -> [usize; 3] {
        [self.record.channels, self.record.height, self.record.width].map(usize::from)
    }

    /// Codes of one picture; `pixels` holds channels × height × width bytes.
    pub fn encode(&self, pixels: &[u8]) -> Vec<u8> {
        let [_, height, width] = self.shape();
        let mut codes = vec![0; self.input_bytes()];
        for (pixel, packed) in codes.chunks_exact_mut(self.record.pixel_bytes().max(1) as usize).enumerate() {
            for (channel, table) in self.tables.iter().enumerate() {
                let code = table[usize::from(pixels[channel * height * width + pixel])];
                releq_device::tensor::store(packed, self.record.storage, channel, code);
            }
        }
        codes
    }
}
