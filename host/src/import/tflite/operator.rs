//! One TFLite operator as an importer sees it: its name, its tensors by position, and errors that name it.

use super::schema::{Model, Operator, Options, SubGraph};
use crate::import::ImportError;

/// No kernel, stride or tensor is larger, and products of three such sizes cannot overflow.
pub(super) const LARGEST: i32 = 1 << 16;

/// TFLite's list of operators up to the last that converters write for convolutional networks, by number.
const NAMES: &str = "\
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR \
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC \
    LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH \
    SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN \
    GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM \
    STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM \
    CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN \
    TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN \
    FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV \
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE \
    MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG \
    QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH";

/// The number that stands for operators of other lists.
const CUSTOM: i32 = 32;

/// An operator in its graph.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    operator: &'a Operator,
    /// Its name in TFLite's list, or that of a custom operator.
    op: &'a str,
    custom: bool,
    label: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn new(model: &'a Model<'a>, graph: &'a SubGraph<'a>, operator: &'a Operator) -> Self {
        let code = model.operator_codes.get(operator.code as usize);
        let number = code.map_or(-1, |code| code.builtin.max(code.old_builtin.into()));
        let listed = usize::try_from(number).ok().and_then(|at| NAMES.split(' ').nth(at));
        // Operators of other lists may be called like those of TFLite's.
        let own = code.and_then(|code| code.custom).filter(|_| number == CUSTOM);
        let output = operator.outputs.first().and_then(|&id| graph.tensors.get(usize::try_from(id).ok()?));
        // Converters join the names of all that they fused.
        let label = output.and_then(|tensor| tensor.name).unwrap_or_default();
        let op = own.or(listed).unwrap_or("a newer operator");
        Self { operator, op, custom: number == CUSTOM, label: label.split(';').next().unwrap_or_default() }
    }

    pub(super) fn op(self) -> &'a str {
        self.op
    }

    /// Whether it is of another list than TFLite's.
    pub(super) fn is_custom(self) -> bool {
        self.custom
    }

    /// The name of its first output.
    pub(super) fn label(self) -> &'a str {
        self.label
    }

    pub(super) fn options(self) -> &'a Options {
        &self.operator.options
    }

    pub(super) fn outputs(self) -> impl Iterator<Item = usize> {
        self.operator.outputs.iter().filter_map(|&id| usize::try_from(id).ok())
    }

    /// The number of input `index`'s tensor, or `None` where an optional one is left out.
    pub(super) fn optional(self, index: usize) -> Option<usize> {
        self.operator.inputs.get(index).and_then(|&id| usize::try_from(id).ok())
    }

    pub(super) fn input(self, index: usize) -> Result<usize, ImportError> {
        self.optional(index).ok_or_else(|| self.broken(format!("it lacks input {index}")))
    }

    /// Every tensor it reads.
    pub(super) fn inputs(self) -> impl Iterator<Item = usize> {
        self.operator.inputs.iter().filter_map(|&id| usize::try_from(id).ok())
    }

    pub(super) fn refuse(self, cause: impl Into<String>, remedy: impl Into<String>) -> ImportError {
        ImportError::Unsupported {
            op: self.op.to_owned(),
            node: self.label.to_owned(),
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }

    /// For what no converter writes.
    pub(super) fn broken(self, cause: impl Into<String>) -> ImportError {
        self.refuse(cause, "the file contradicts itself; convert the model again")
    }

    /// Two sizes of its options, as positive numbers.
    pub(super) fn sizes(self, what: &str, sizes: [i32; 2]) -> Result<[usize; 2], ImportError> {
        if sizes.iter().all(|size| (1..=LARGEST).contains(size)) {
            Ok(sizes.map(|size| size as usize))
        } else {
            Err(self.broken(format!("its {what} is {}×{}, not sizes from 1 to {LARGEST}", sizes[0], sizes[1])))
        }
    }
}
