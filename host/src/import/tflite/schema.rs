//! The part of TFLite's FlatBuffers schema that a float network needs, decoded while every offset is checked.
//!
//! Field numbers are those of TensorFlow's `schema.fbs`, version 3. The runtime's verifier finds the fields and bounds
//! every read, the number of tables and the total size of what is read, so a hostile file gives an error: never a wild
//! read, and never more memory than a few times the file.

use flatbuffers::{InvalidFlatbuffer, TableVerifier, Verifier, VerifierOptions};

/// The identifier at byte 4 of every TFLite file.
pub(super) const IDENTIFIER: &[u8] = b"TFL3";
/// More tables than any network of a microcontroller has.
const MOST_TABLES: usize = 1 << 16;

type Result<T> = std::result::Result<T, InvalidFlatbuffer>;

/// A whole file.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) version: u32,
    pub(super) operator_codes: Vec<OperatorCode<'a>>,
    pub(super) subgraphs: Vec<SubGraph<'a>>,
    pub(super) buffers: Vec<Buffer<'a>>,
}

/// Which operator: a number of TFLite's list, or a name of someone else's.
#[derive(Debug)]
pub(super) struct OperatorCode<'a> {
    /// Where the number lies since it outgrew a byte.
    pub(super) builtin: i32,
    /// Where it lay before.
    pub(super) old_builtin: i8,
    pub(super) custom: Option<&'a str>,
}

/// A graph over numbered tensors.
#[derive(Debug)]
pub(super) struct SubGraph<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) operators: Vec<Operator>,
}

/// A tensor: a constant if its buffer holds data.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub(super) shape: Vec<i32>,
    /// The shape with −1 for sizes that may change; empty where none may.
    pub(super) signature: Vec<i32>,
    pub(super) element: i8,
    pub(super) buffer: u32,
    pub(super) name: Option<&'a str>,
    pub(super) quantization: Option<Quantization>,
}

/// What a tensor's integers stand for: `real = scale · (integer − zero point)`.
#[derive(Debug)]
pub(super) struct Quantization {
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    /// The axis that has one scale a slice.
    pub(super) axis: i32,
}

/// One step of a graph.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) code: u32,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) options: Options,
}

/// The options of all operators that releq takes; each sets its own and leaves the others at their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    /// 0 is SAME, 1 VALID.
    pub(super) padding: i8,
    /// Steps down and right.
    pub(super) stride: [i32; 2],
    /// Gaps down and right; 1 for none.
    pub(super) dilation: [i32; 2],
    /// Height and width of a pool.
    pub(super) filter: [i32; 2],
    /// Output channels an input channel, of a depthwise convolution.
    pub(super) multiplier: i32,
    /// The fused activation: 0 none, 1 RELU, 2 RELU_N1_TO_1, 3 RELU6, 4 TANH, 5 SIGN_BIT.
    pub(super) activation: i8,
    /// 0 where dense weights lie row by row.
    pub(super) weights_format: i8,
    /// Whether a mean keeps its axes as sizes of 1.
    pub(super) keep_dims: bool,
    /// The axis along which tensors are joined.
    pub(super) axis: i32,
    /// Where a reshape takes no second input.
    pub(super) new_shape: Vec<i32>,
}

/// Bytes of a constant.
#[derive(Debug)]
pub(super) struct Buffer<'a> {
    pub(super) data: &'a [u8],
    /// Above 1 where the bytes lie behind the FlatBuffer, as in files beyond 2 GiB.
    pub(super) offset: u64,
}

/// Decodes `file`, or says in a few words what is wrong with it.
pub(super) fn decode(file: &[u8]) -> std::result::Result<Model<'_>, String> {
    let options = VerifierOptions {
        max_tables: MOST_TABLES,
        max_apparent_size: file.len().saturating_mul(16),
        ..VerifierOptions::default()
    };
    <Model<'_> as Read>::read(&mut Verifier::new(&options, file), file, 0).map_err(|error| {
        // Its later lines trace the way there, in byte positions that help nobody.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_end_matches('.');
        let mut letters = first.chars();
        letters.next().map_or_else(String::new, |letter| letter.to_lowercase().chain(letters).collect())
    })
}

/// Something that can be read at a position, with every byte of it checked to be there.
trait Read<'a>: Sized {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self>;
}

/// A table, read field by field.
trait Table<'a>: Sized {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self>;
}

/// The fields of one table.
struct Fields<'v, 'o, 'a> {
    table: TableVerifier<'v, 'o, 'a>,
    file: &'a [u8],
}

impl<'a> Fields<'_, '_, 'a> {
    /// The field of that number in the schema, if the table has it.
    fn get<T: Read<'a>>(&mut self, number: u16) -> Result<Option<T>> {
        // A vtable starts with two sizes of two bytes each.
        match self.table.deref(4 + 2 * number)? {
            Some(at) => T::read(self.table.verifier(), self.file, at).map(Some),
            None => Ok(None),
        }
    }

    /// The field, or what its absence stands for.
    fn or<T: Read<'a>>(&mut self, number: u16, default: T) -> Result<T> {
        Ok(self.get(number)?.unwrap_or(default))
    }

    fn or_default<T: Read<'a> + Default>(&mut self, number: u16) -> Result<T> {
        self.get(number).map(Option::unwrap_or_default)
    }

    fn pair(&mut self, numbers: [u16; 2], default: i32) -> Result<[i32; 2]> {
        Ok([self.or(numbers[0], default)?, self.or(numbers[1], default)?])
    }

    /// What `read` makes of the table that the field leads to.
    fn table<T>(&mut self, number: u16, read: impl FnOnce(&mut Fields<'_, '_, 'a>) -> Result<T>) -> Result<Option<T>> {
        match self.table.deref(4 + 2 * number)? {
            Some(at) => in_table(self.table.verifier(), self.file, at, read).map(Some),
            None => Ok(None),
        }
    }
}

/// `len` bytes, if they are there.
fn bytes<'a>(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize, len: usize) -> Result<&'a [u8]> {
    verifier.range_in_buffer(at, len)?;
    Ok(&file[at..at + len])
}

/// The length of the vector that the offset at `at` leads to, and where its elements start.
fn vector(verifier: &mut Verifier<'_, '_>, at: usize) -> Result<(usize, usize)> {
    let start = at.saturating_add(verifier.get_uoffset(at)? as usize);
    Ok((verifier.get_uoffset(start)? as usize, start.saturating_add(4)))
}

/// What `read` makes of the table that the offset at `at` leads to.
fn in_table<'a, T>(
    verifier: &mut Verifier<'_, 'a>,
    file: &'a [u8],
    at: usize,
    read: impl FnOnce(&mut Fields<'_, '_, 'a>) -> Result<T>,
) -> Result<T> {
    let at = at.saturating_add(verifier.get_uoffset(at)? as usize);
    let mut fields = Fields { table: verifier.visit_table(at)?, file };
    let value = read(&mut fields)?;
    fields.table.finish();
    Ok(value)
}

macro_rules! scalars {
    ($($kind:ty)*) => { $(
        impl<'a> Read<'a> for $kind {
            fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
                let bytes = bytes(verifier, file, at, size_of::<Self>())?;
                Ok(bytes.first_chunk().map_or(Self::default(), |word| Self::from_le_bytes(*word)))
            }
        }

        impl<'a> Read<'a> for Vec<$kind> {
            fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
                let (len, start) = vector(verifier, at)?;
                let bytes = bytes(verifier, file, start, len.saturating_mul(size_of::<$kind>()))?;
                Ok(bytes.as_chunks().0.iter().map(|word| <$kind>::from_le_bytes(*word)).collect())
            }
        }
    )* };
}

scalars!(i8 i32 u32 i64 u64 f32);

impl<'a> Read<'a> for bool {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
        i8::read(verifier, file, at).map(|byte| byte != 0)
    }
}

impl<'a> Read<'a> for &'a [u8] {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
        let (len, start) = vector(verifier, at)?;
        bytes(verifier, file, start, len)
    }
}

impl<'a> Read<'a> for &'a str {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
        // Names only name: one that is no text is no reason to refuse a network.
        <&[u8]>::read(verifier, file, at).map(|bytes| std::str::from_utf8(bytes).unwrap_or("(not text)"))
    }
}

impl<'a, T: Table<'a>> Read<'a> for T {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
        in_table(verifier, file, at, T::fields)
    }
}

impl<'a, T: Table<'a>> Read<'a> for Vec<T> {
    fn read(verifier: &mut Verifier<'_, 'a>, file: &'a [u8], at: usize) -> Result<Self> {
        let (len, start) = vector(verifier, at)?;
        verifier.range_in_buffer(start, len.saturating_mul(4))?;
        (0..len).map(|index| T::read(verifier, file, start + 4 * index)).collect()
    }
}

impl<'a> Table<'a> for Model<'a> {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self {
            version: fields.or_default(0)?,
            operator_codes: fields.or_default(1)?,
            subgraphs: fields.or_default(2)?,
            buffers: fields.or_default(4)?,
        })
    }
}

impl<'a> Table<'a> for OperatorCode<'a> {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self { old_builtin: fields.or_default(0)?, custom: fields.get(1)?, builtin: fields.or_default(3)? })
    }
}

impl<'a> Table<'a> for SubGraph<'a> {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self {
            tensors: fields.or_default(0)?,
            inputs: fields.or_default(1)?,
            outputs: fields.or_default(2)?,
            operators: fields.or_default(3)?,
        })
    }
}

impl<'a> Table<'a> for Tensor<'a> {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self {
            shape: fields.or_default(0)?,
            element: fields.or_default(1)?,
            buffer: fields.or_default(2)?,
            name: fields.get(3)?,
            quantization: fields.get(4)?,
            signature: fields.or_default(7)?,
        })
    }
}

impl<'a> Table<'a> for Quantization {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self { scales: fields.or_default(2)?, zero_points: fields.or_default(3)?, axis: fields.or_default(6)? })
    }
}

impl<'a> Table<'a> for Operator {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self {
            code: fields.or_default(0)?,
            inputs: fields.or_default(1)?,
            outputs: fields.or_default(2)?,
            options: {
                let kind = fields.or_default(3)?;
                fields.table(4, |fields| options(fields, kind))?.unwrap_or_default()
            },
        })
    }
}

impl<'a> Table<'a> for Buffer<'a> {
    fn fields(fields: &mut Fields<'_, '_, 'a>) -> Result<Self> {
        Ok(Self { data: fields.or_default(0)?, offset: fields.or_default(1)? })
    }
}

/// The options of an operator, by the number their kind has in the schema's union.
fn options(fields: &mut Fields<'_, '_, '_>, kind: i8) -> Result<Options> {
    let none = Options::default();
    Ok(match kind {
        1 => Options {
            padding: fields.or_default(0)?,
            stride: fields.pair([2, 1], 0)?,
            activation: fields.or_default(3)?,
            dilation: fields.pair([5, 4], 1)?,
            ..none
        },
        2 => Options {
            padding: fields.or_default(0)?,
            stride: fields.pair([2, 1], 0)?,
            multiplier: fields.or_default(3)?,
            activation: fields.or_default(4)?,
            dilation: fields.pair([6, 5], 1)?,
            ..none
        },
        5 => Options {
            padding: fields.or_default(0)?,
            stride: fields.pair([2, 1], 0)?,
            filter: fields.pair([4, 3], 0)?,
            activation: fields.or_default(5)?,
            ..none
        },
        8 => Options { activation: fields.or_default(0)?, weights_format: fields.or_default(1)?, ..none },
        10 => Options { axis: fields.or_default(0)?, activation: fields.or_default(1)?, ..none },
        11 => Options { activation: fields.or_default(0)?, ..none },
        17 => Options { new_shape: fields.or_default(0)?, ..none },
        27 => Options { keep_dims: fields.or_default(0)?, ..none },
        _ => none,
    })
}
