//! The messages between a workstation and a board, and the frames that carry them over any byte pipe.
//!
//! A frame is COBS(postcard(id, message) + CRC-32 little-endian) and a closing zero byte, at most [`MAX_FRAME`] bytes.
//! Ids are chosen by the host, count up and are echoed by the board; id 0 answers a frame that could not be read. A
//! request repeated under its id is answered from memory and never runs twice, so a host that lost an answer just asks
//! again; one that comes late, after [`STALE`] or fewer newer ones, is not answered at all. A new host starts anywhere.
//! Whatever is larger than a frame goes in pieces of at most [`CHUNK`] bytes. It is not a transport: nothing here
//! reads or writes a port.
//!
//! ```
//! use releq_format::wire::{self, FrameDecoder, MAX_FRAME, Request};
//! let mut frame = [0; MAX_FRAME];
//! let length = wire::encode(7, &Request::SelfTest, &mut frame).unwrap();
//! let mut decoder = FrameDecoder::new();
//! let mut bytes = &frame[..length];
//! let body = decoder.next(&mut bytes).unwrap().unwrap();
//! assert_eq!(wire::parse(body), Ok((7, Request::SelfTest)));
//! ```

use serde::{Deserialize, Serialize};

use crate::crc::crc32;
use crate::image::ImageError;

/// Version of the messages; a host talks only to a board that states the same one.
pub const PROTOCOL: u16 = 3;
/// Most bytes of a frame, the closing zero included.
pub const MAX_FRAME: usize = 512;
/// Most bytes of inputs, image, logits or records in one message; a multiple of 8 and of [`LAYER_RECORD`].
pub const CHUNK: usize = 480;
/// Bytes of one layer record in [`Response::Layers`].
pub const LAYER_RECORD: usize = 20;
/// Most runs of one [`Request::Infer`], so that the counts of all of them fit in one message.
pub const MAX_RUNS: u32 = CHUNK as u32 / 4;
/// How many ids before the newest one belong to requests that came late, which are passed over in silence.
pub const STALE: u32 = 1 << 16;

const CRC_BYTES: usize = 4;
/// Most bytes of postcard in a frame: the closing zero, one COBS byte per 254 and the checksum are not available.
const MAX_BODY: usize = MAX_FRAME - 1 - MAX_FRAME.div_ceil(254) - CRC_BYTES;
/// Id (≤ 5), variant (1), offset (≤ 5), length of the bytes (≤ 2).
const _: () = assert!(CHUNK + 13 <= MAX_BODY && CHUNK.is_multiple_of(LAYER_RECORD));

/// What a board counts. Part of every measurement: numbers of different units are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Executed instructions, exact; what an emulator can know.
    Instructions,
    /// Clock cycles of a real core.
    Cycles,
    /// Wall-clock nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// The plural noun, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Cycles => "cycles",
            Self::Nanoseconds => "ns",
        }
    }
}

impl core::fmt::Display for Unit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? Answered by [`Response::Description`].
    Describe,
    /// Check and prepare the image that lies in the model region.
    Open {
        /// Bytes of the image.
        length: u32,
        /// Its recorded checksum, so that a stale model is noticed.
        crc: u32,
    },
    /// Put input codes; answered by [`Response::Done`].
    WriteInput {
        /// First byte of the packed input to write.
        offset: u32,
        /// At most [`CHUNK`] bytes.
        bytes: &'a [u8],
    },
    /// Run on the input written before.
    Infer {
        /// How often, 1 to [`MAX_RUNS`]. More than once needs room in the arena for a copy of the input, since running
        /// overwrites it; the copying is not counted.
        runs: u32,
    },
    /// Send logits of the last run.
    ReadLogits {
        /// Index of the first logit wanted.
        first: u32,
    },
    /// Send the layer records of the last [`Request::Infer`].
    ReadLayers {
        /// Index of the first layer wanted.
        first: u32,
    },
    /// Send what each run of the last [`Request::Infer`] counted in all.
    ReadRuns,
    /// Run the known answer that the image carries.
    SelfTest,
    /// Count a loop of known length, to check the board's clock: `loops` times two instructions.
    Spin {
        /// Turns of the loop, at least 1.
        loops: u32,
    },
    /// Which kernel runs a layer of the open image? The firmware may lack the one that the image hints at.
    ReadKernel {
        /// Index of the layer.
        layer: u32,
    },
    /// Put bytes of an image into the model region, and close the image that was open; answered by
    /// [`Response::Done`].
    WriteModel {
        /// First byte of the region to write.
        offset: u32,
        /// At most [`CHUNK`] bytes.
        bytes: &'a [u8],
    },
    /// What lies in the model region? Closes the image that was open; answered by [`Response::Checksum`], so that a load
    /// that was broken off goes on
    /// where it stopped, and a whole one is checked.
    CheckModel {
        /// First byte of the region to check.
        offset: u32,
        /// Bytes to check.
        length: u32,
    },
    /// How much stack has been used since the board started?
    ReadStack,
    /// Close the open image and forget every run, as after a start; answered by [`Response::Done`].
    Reset,
}

/// What a board answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response<'a> {
    /// The board.
    Description(Description<'a>),
    /// The image is open; its shape.
    Opened {
        /// Bytes of the packed input.
        input_bytes: u32,
        /// Number of logits.
        outputs: u32,
        /// Number of layers.
        layers: u32,
    },
    /// Nothing more to say.
    Done,
    /// The last run's outcome.
    Inferred {
        /// The class with the largest logit, the lowest on a tie.
        top1: u32,
        /// Whether every run gave the digests of the first; anything else is a fault of the board.
        steady: bool,
    },
    /// Logits as little-endian `i32`, from the one asked for on; none past the last.
    Logits {
        /// At most [`CHUNK`] bytes.
        bytes: &'a [u8],
    },
    /// Layer records from the one asked for on, little-endian: CRC-32 of the layer's output bytes, then the smallest
    /// and the largest count of the runs, all `u32`, and the sum of the counts, `u64`; none past the last.
    Layers {
        /// At most [`CHUNK`] bytes.
        bytes: &'a [u8],
    },
    /// Whether the image's known answer came out; `None` where the image has none.
    SelfTested {
        /// The verdict.
        passed: Option<bool>,
    },
    /// The loop has run.
    Spun {
        /// What the clock counted, in the board's unit.
        count: u32,
    },
    /// The request was refused.
    Fault {
        /// Why.
        code: FaultCode,
        /// Where: the layer for faults of a layer, the bytes or entries available for faults of size, else 0.
        detail: u32,
    },
    /// The kernel that runs the layer asked about; empty past the last layer.
    Kernel {
        /// Its name, as in `releq_device::kernels`.
        name: &'a str,
    },
    /// One count a run, little-endian `u32`, the first run first.
    Runs {
        /// At most [`CHUNK`] bytes.
        bytes: &'a [u8],
    },
    /// CRC-32 of the stretch of the model region asked about.
    Checksum {
        /// The checksum.
        crc: u32,
    },
    /// The stack's high-water mark.
    Stack {
        /// Most bytes in use at any moment since the start, and bytes there are; `None` where nobody measures them.
        used: Option<(u32, u32)>,
    },
}

/// Who a board is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description<'a> {
    /// [`PROTOCOL`] of the firmware.
    pub protocol: u16,
    /// The firmware's own version, as `0.1.0`.
    pub version: &'a str,
    /// Name of the board, as in the board table.
    pub board: &'a str,
    /// What its counts are.
    pub unit: Unit,
    /// Bytes of arena.
    pub arena_bytes: u32,
    /// Bytes of the model region.
    pub model_bytes: u32,
    /// Whether [`Request::WriteModel`] can write there: RAM, not flash.
    pub writable: bool,
    /// Most layers of an image.
    pub max_layers: u32,
    /// What an empty timed region counts; already taken off every count.
    pub overhead: u32,
}

/// Why a board refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FaultCode {
    /// The frame was damaged; ask again.
    Garbled,
    /// The message is none of this protocol version.
    Unknown,
    /// No image is open.
    NotOpen,
    /// The image is longer than the model region.
    ModelTooLarge,
    /// Another image than announced lies in the model region.
    WrongModel,
    /// The region holds no image.
    NotAnImage,
    /// The image has another format version.
    ImageVersion,
    /// The image was damaged.
    ImageDamaged,
    /// The image contradicts itself.
    ImageInvalid,
    /// The image needs features that the firmware lacks.
    ImageFeatures,
    /// The image needs more arena than there is.
    ArenaTooSmall,
    /// The image has more layers than the engine holds.
    TooManyLayers,
    /// No linked kernel runs a layer.
    MissingKernel,
    /// Written past the end of the input.
    InputRange,
    /// Written or checked past the end of the model region.
    ModelRange,
    /// The model region is flash, which the firmware does not write.
    ReadOnly,
    /// More runs than one request may ask for, or none.
    Runs,
    /// The arena has no room for the copy of the input that further runs need.
    NoSpare,
    /// The image is not signed, and the firmware runs signed ones only.
    Unsigned,
    /// The image is signed by none of the keys that the firmware was built with, or was changed since.
    Foreign,
}

impl core::fmt::Display for FaultCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Garbled => "a frame arrived damaged",
            Self::Unknown => "it does not know the request",
            Self::NotOpen => "no image is open",
            Self::ModelTooLarge => "the image is longer than the model region",
            Self::WrongModel => "another image lies in the model region than was announced",
            Self::NotAnImage => "the model region holds no releq image",
            Self::ImageVersion => "the image has a format version that the firmware does not read",
            Self::ImageDamaged => "the image in the model region is damaged",
            Self::ImageInvalid => "the image in the model region contradicts itself",
            Self::ImageFeatures => "the image needs features that the firmware lacks",
            Self::ArenaTooSmall => "the image needs more arena than the board has",
            Self::TooManyLayers => "the image has more layers than the firmware holds",
            Self::MissingKernel => "no kernel of the firmware runs a layer of the image",
            Self::InputRange => "input was written past its end",
            Self::ModelRange => "the model region ends before what was asked about",
            Self::ReadOnly => "its model region is flash, which only a debug probe writes",
            Self::Runs => "it was asked for no run, or for more than it counts at once",
            Self::NoSpare => "its arena has no room to keep the input for a second run",
            Self::Unsigned => "the image is not signed, and this firmware runs only what its keys have signed",
            Self::Foreign => "none of the keys that this firmware was built with has signed the image as it is",
        })
    }
}

impl From<ImageError> for FaultCode {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotAnImage => Self::NotAnImage,
            ImageError::Version(_) => Self::ImageVersion,
            ImageError::Truncated | ImageError::Trailing | ImageError::Checksum => Self::ImageDamaged,
            ImageError::Features(_) => Self::ImageFeatures,
            ImageError::Misaligned | ImageError::Header | ImageError::Layer { .. } => Self::ImageInvalid,
        }
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`]; or, when encoding, the message does not fit in one.
    TooLong,
    /// Not COBS, or too short for a checksum.
    Malformed,
    /// The checksum does not match.
    Checksum,
    /// Sound bytes that are no message of this protocol version.
    Message,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a frame is longer than 512 bytes",
            Self::Malformed => "a frame is not COBS",
            Self::Checksum => "a frame's checksum does not match",
            Self::Message => "a sound frame holds no message of this protocol version",
        })
    }
}

impl core::error::Error for FrameError {}

/// Writes the frame of a message and returns its length, the closing zero included.
///
/// # Errors
/// [`FrameError::TooLong`] if the message carries more than a frame holds; never with payloads up to [`CHUNK`].
pub fn encode<M: Serialize>(id: u32, message: &M, frame: &mut [u8; MAX_FRAME]) -> Result<usize, FrameError> {
    let mut plain = [0; MAX_BODY + CRC_BYTES];
    let body = postcard::to_slice(&(id, message), &mut plain[..MAX_BODY]).map_err(|_| FrameError::TooLong)?.len();
    // The body fits, which the compiler cannot know.
    let (body, rest) = plain.split_at_mut_checked(body).ok_or(FrameError::TooLong)?;
    *rest.first_chunk_mut::<CRC_BYTES>().ok_or(FrameError::TooLong)? = crc32(body).to_le_bytes();
    let length = body.len() + CRC_BYTES;
    let plain = plain.get(..length).ok_or(FrameError::TooLong)?;
    let length = cobs::try_encode(plain, frame).map_err(|_| FrameError::TooLong)?;
    *frame.get_mut(length).ok_or(FrameError::TooLong)? = 0;
    Ok(length + 1)
}

/// Reads the id and the message of a frame's body.
///
/// # Errors
/// [`FrameError::Message`] if the body is no message of this version, or carries more than one.
pub fn parse<'b, M: Deserialize<'b>>(body: &'b [u8]) -> Result<(u32, M), FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(FrameError::Message),
    }
}

/// Finds frames in a stream of bytes, without a port, a heap or a panic.
///
/// Whatever garbage came before, the next zero byte ends it and the frame after that is read whole.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    buffer: [u8; MAX_FRAME],
    /// Bytes since the last zero; more than the buffer holds once a frame is too long.
    length: usize,
}

impl FrameDecoder {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { buffer: [0; MAX_FRAME], length: 0 }
    }

    /// Takes bytes from the front of `input` up to the end of the next frame, and returns its body.
    ///
    /// `None` means that `input` is used up and no frame has ended. Empty frames are passed over.
    ///
    /// # Errors
    /// Why the bytes before the zero were no frame; the decoder has resynchronised and can go on.
    pub fn next<'d>(&'d mut self, input: &mut &[u8]) -> Option<Result<&'d [u8], FrameError>> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if byte != 0 {
                self.keep(byte);
            } else if self.length > 0 {
                return Some(self.finish());
            }
        }
        None
    }

    fn keep(&mut self, byte: u8) {
        if let Some(slot) = self.buffer.get_mut(self.length) {
            *slot = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn finish(&mut self) -> Result<&[u8], FrameError> {
        let length = core::mem::take(&mut self.length);
        // The closing zero belongs to the frame.
        if length >= MAX_FRAME {
            return Err(FrameError::TooLong);
        }
        let coded = self.buffer.get_mut(..length).ok_or(FrameError::TooLong)?;
        let plain = decode_in_place(coded).ok_or(FrameError::Malformed)?;
        let plain = self.buffer.get(..plain).ok_or(FrameError::Malformed)?;
        let (body, checksum) = plain.split_last_chunk::<CRC_BYTES>().ok_or(FrameError::Malformed)?;
        if crc32(body) == u32::from_le_bytes(*checksum) { Ok(body) } else { Err(FrameError::Checksum) }
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Undoes COBS (Cheshire and Baker, 1999) where it lies, and returns the length; `None` for what is not COBS.
///
/// Each code is one more than the bytes that follow it as they were, and then comes a zero that was left out: not
/// after 254 bytes, nor at the end. It is here since the crate's own decoder has panic paths that are never taken.
fn decode_in_place(coded: &mut [u8]) -> Option<usize> {
    let (mut read, mut written) = (0, 0);
    while let Some(&code) = coded.get(read) {
        read += 1;
        for _ in 1..code {
            *coded.get_mut(written)? = *coded.get(read)?;
            (read, written) = (read + 1, written + 1);
        }
        if code != u8::MAX && read < coded.len() {
            *coded.get_mut(written)? = 0;
            written += 1;
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    fn frame<M: Serialize>(id: u32, message: &M) -> Vec<u8> {
        let mut frame = [0; MAX_FRAME];
        let length = encode(id, message, &mut frame).unwrap();
        frame[..length].to_vec()
    }

    /// Everything the decoder makes of a stream: each frame's body, or why it is none.
    fn bodies(mut stream: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut decoder = FrameDecoder::new();
        let mut bodies = Vec::new();
        while let Some(body) = decoder.next(&mut stream) {
            bodies.push(body.map(<[u8]>::to_vec));
        }
        bodies
    }

    #[test]
    fn literal_bytes() {
        // (id 1, Request::Infer = variant 3, 2 runs): body 01 03 02, CRC-32 of it, COBS code 08 since nothing is zero.
        let checksum = crc32(&[1, 3, 2]).to_le_bytes();
        assert!(checksum.iter().all(|&byte| byte != 0));
        let expected = [&[8, 1, 3, 2][..], &checksum, &[0]].concat();
        assert_eq!(frame(1, &Request::Infer { runs: 2 }), expected);
    }

    #[test]
    fn the_largest_chunk_fits_in_a_frame() {
        for fill in [0, 1, 0xFF] {
            let bytes = [fill; CHUNK];
            let request = Request::WriteInput { offset: u32::MAX, bytes: &bytes };
            let stream = frame(u32::MAX, &request);
            assert!(stream.len() <= MAX_FRAME);
            let body = bodies(&stream).remove(0).unwrap();
            assert_eq!(parse(&body), Ok((u32::MAX, request)));
        }
    }

    #[test]
    fn more_than_a_frame_is_refused() {
        let bytes = [1; MAX_FRAME];
        let request = Request::WriteInput { offset: 0, bytes: &bytes };
        assert_eq!(encode(1, &request, &mut [0; MAX_FRAME]), Err(FrameError::TooLong));
        let endless = [[1; 4 * MAX_FRAME].as_slice(), &[0], &frame(2, &Request::SelfTest)].concat();
        let read = bodies(&endless);
        assert_eq!(read[0], Err(FrameError::TooLong));
        assert_eq!(parse(read[1].as_ref().unwrap()), Ok((2, Request::SelfTest)));
    }

    #[test]
    fn trailing_bytes_are_no_message() {
        assert_eq!(parse::<Request<'_>>(&[1, 3, 1, 0]), Err(FrameError::Message));
        assert_eq!(parse::<Request<'_>>(&[1, 99]), Err(FrameError::Message));
    }

    proptest! {
        #[test]
        fn round_trip(id: u32, offset: u32, bytes in prop::collection::vec(any::<u8>(), 0..=CHUNK)) {
            let request = Request::WriteInput { offset, bytes: &bytes };
            let stream = frame(id, &request);
            prop_assert!(stream.len() <= MAX_FRAME);
            let body = bodies(&stream).remove(0).unwrap();
            prop_assert_eq!(parse(&body), Ok((id, request)));
        }

        /// Each byte of a frame, replaced by anything else: never another message, and the next frame is read.
        #[test]
        fn a_damaged_byte_is_noticed(bytes in prop::collection::vec(any::<u8>(), 0..40), flip in 1u8..) {
            let good = frame(1, &Request::WriteInput { offset: 3, bytes: &bytes });
            let next = frame(2, &Request::SelfTest);
            for index in 0..good.len() {
                let mut stream = good.clone();
                stream[index] ^= flip;
                // The zero that a damaged delimiter no longer is; empty frames are passed over.
                stream.push(0);
                stream.extend_from_slice(&next);
                let read = bodies(&stream);
                let (last, damaged) = read.split_last().unwrap();
                prop_assert_eq!(parse(last.as_ref().unwrap()), Ok((2, Request::SelfTest)));
                prop_assert!(damaged.iter().all(Result::is_err), "byte {}: {:?}", index, damaged);
            }
        }

        /// The crate that encodes reads frames to the same bytes, long runs without a zero included.
        #[test]
        fn frames_are_decoded_as_by_the_crate(coded in prop::collection::vec(prop_oneof![4 => 1u8..6, 1 => 1u8..], 1..MAX_FRAME)) {
            let (mut ours, mut theirs) = (coded.clone(), coded);
            let ours = decode_in_place(&mut ours).map(|length| ours[..length].to_vec());
            let theirs = cobs::decode_in_place(&mut theirs).ok().map(|length| theirs[..length].to_vec());
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn what_was_encoded_is_decoded(plain in prop::collection::vec(prop_oneof![1 => Just(0u8), 99 => any::<u8>()], 0..=MAX_BODY)) {
            let mut coded = [0; MAX_FRAME];
            let length = cobs::try_encode(&plain, &mut coded).unwrap();
            let decoded = decode_in_place(&mut coded[..length]).unwrap();
            prop_assert_eq!(&coded[..decoded], &plain[..]);
        }

        #[test]
        fn garbage_never_panics_and_never_blocks(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut stream = garbage;
            stream.push(0);
            stream.extend(frame(9, &Request::SelfTest));
            let read = bodies(&stream);
            prop_assert_eq!(parse(read.last().unwrap().as_ref().unwrap()), Ok((9, Request::SelfTest)));
        }

        #[test]
        fn pieces_make_no_difference(cut in 0usize..30) {
            let stream = frame(5, &Request::Spin { loops: 1000 });
            let (mut head, mut tail) = stream.split_at(cut.min(stream.len() - 1));
            let mut decoder = FrameDecoder::new();
            prop_assert!(decoder.next(&mut head).is_none());
            let body = decoder.next(&mut tail).unwrap().unwrap();
            prop_assert_eq!(parse(body), Ok((5, Request::Spin { loops: 1000 })));
        }
    }
}
