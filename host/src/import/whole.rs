//! Whole numbers computed while importing: the arithmetic on shapes that exporters write around layers.

use std::borrow::Cow;

use super::ImportError;
use super::call::Call;
use super::proto::{TensorProto, element};
use super::walk::{Form, Value, Walk};

type Translated<'a> = Result<Value<'a>, ImportError>;

/// Shapes and paddings are this short; anything longer is no arithmetic on shapes.
const LONGEST: usize = 4096;

/// One number, or the size of the batch, which may not be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Batch,
    Known(i64),
}

/// A tensor of whole numbers, row-major.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Whole {
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<Size>,
}

impl Whole {
    pub(super) fn list(data: Vec<Size>) -> Self {
        Self { dims: vec![data.len()], data }
    }

    /// Its numbers, if none of them is the batch.
    pub(super) fn known(&self) -> Option<Vec<i64>> {
        let known = |size: &Size| match size {
            Size::Batch => None,
            Size::Known(number) => Some(*number),
        };
        self.data.iter().map(known).collect()
    }
}

/// The sizes of an activation, as the file sees them.
pub(super) fn sizes_of(form: Form, [c, h, w]: [usize; 3]) -> Vec<Size> {
    let image = match form {
        Form::Image => vec![c, h, w],
        Form::ChannelsLast => vec![h, w, c],
        Form::Line { channels_last: false } => vec![c, h * w],
        Form::Line { channels_last: true } => vec![h * w, c],
        Form::Flat | Form::FlatChannelsLast(_) => vec![c * h * w],
    };
    std::iter::once(Size::Batch).chain(image.into_iter().map(|size| Size::Known(size as i64))).collect()
}

pub(super) fn shape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["end", "start"])?;
    let sizes = match walk.value(call, 0)? {
        Value::Whole(whole) => whole.dims.iter().map(|&size| Size::Known(size as i64)).collect(),
        Value::Constant(constant) => constant.dims.iter().map(|&size| Size::Known(size)).collect(),
        _ => {
            let input = walk.activation(call, 0)?;
            sizes_of(input.form, walk.shape(input))
        }
    };
    let rank = sizes.len() as i64;
    // Negative ends count from the last axis, and ends beyond it mean it.
    let axis = |at: i64| at.saturating_add(if at < 0 { rank } else { 0 }).clamp(0, rank) as usize;
    let [start, end] = [axis(call.int("start", 0)), axis(call.int("end", rank))];
    Ok(Value::Whole(Whole::list(sizes.get(start..end).unwrap_or_default().to_vec())))
}

pub(super) fn gather<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let (from, at) = (walk.whole(call, 0)?, walk.whole(call, 1)?);
    let pick = |index: i64| {
        let index = if index < 0 { index + from.data.len() as i64 } else { index };
        usize::try_from(index).ok().and_then(|index| from.data.get(index)).copied()
    };
    let picked: Option<Vec<Size>> = at.known().and_then(|indices| indices.into_iter().map(pick).collect());
    let picked = picked.ok_or_else(|| call.broken("it picks a size that is not there"))?;
    Ok(Value::Whole(Whole { dims: at.dims, data: picked }))
}

/// Concatenation along the first axis.
pub(super) fn concat<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let parts = (0..call.0.input.len()).map(|index| walk.whole(call, index)).collect::<Result<Vec<_>, _>>()?;
    let rest = parts.first().and_then(|part| part.dims.get(1..)).unwrap_or_default().to_vec();
    let fits = |part: &Whole| part.dims.get(1..) == Some(&rest[..]) || part.dims.is_empty() && rest.is_empty();
    if call.int("axis", 0) != 0 || !parts.iter().all(fits) {
        return Err(call.broken("its parts do not fit together along the first axis"));
    }
    let first = parts.iter().map(|part| part.dims.first().copied().unwrap_or(1)).sum();
    let data: Vec<Size> = parts.into_iter().flat_map(|part| part.data).collect();
    bounded(call, Whole { dims: std::iter::once(first).chain(rest).collect(), data })
}

fn bounded<'a>(call: Call<'a>, whole: Whole) -> Translated<'a> {
    if whole.data.len() > LONGEST {
        return Err(call.refuse(
            format!("it computes {} whole numbers", whole.data.len()),
            format!("releq computes shapes, of at most {LONGEST} numbers; fold constants before exporting"),
        ));
    }
    Ok(Value::Whole(whole))
}

/// Every number kept, under other sizes: `Reshape`, `Squeeze`, `Unsqueeze`.
pub(super) fn reshape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let from = walk.whole(call, 0)?;
    let count = from.data.len();
    let dims = match call.op() {
        "Reshape" => reshaped(&walk.ints(call, 1)?, &from.dims, count),
        "Unsqueeze" if from.dims.is_empty() => Some(vec![1]),
        "Squeeze" if count == 1 => Some(Vec::new()),
        _ => Some(vec![count]),
    };
    let dims = dims.ok_or_else(|| call.broken(format!("it reshapes {count} numbers to another count")))?;
    Ok(Value::Whole(Whole { dims, data: from.data }))
}

/// Sizes for `count` elements, where 0 keeps a size and one −1 is to be found.
pub(super) fn reshaped(target: &[i64], current: &[usize], count: usize) -> Option<Vec<usize>> {
    let known = |(axis, &size): (usize, &i64)| match size {
        -1 => Some(None),
        0 => current.get(axis).map(|&size| Some(size)),
        size => usize::try_from(size).ok().map(Some),
    };
    let sizes: Vec<Option<usize>> = target.iter().enumerate().map(known).collect::<Option<_>>()?;
    let product = sizes.iter().flatten().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    let open = sizes.iter().filter(|size| size.is_none()).count();
    let found = if open == 1 && product > 0 { count / product } else { 1 };
    let whole = open <= 1 && product.checked_mul(found) == Some(count);
    whole.then(|| sizes.into_iter().map(|size| size.unwrap_or(found)).collect())
}

/// `perm` of a tensor's axes; the last first where none is given.
pub(super) fn permutation(call: Call<'_>, rank: usize) -> Result<Vec<usize>, ImportError> {
    let given = call.ints("perm").map(|perm| perm.iter().map(|&axis| axis as usize).collect());
    let perm: Vec<usize> = given.unwrap_or_else(|| (0..rank).rev().collect());
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    let all = sorted.iter().copied().eq(0..rank);
    if all { Ok(perm) } else { Err(call.broken(format!("its perm {perm:?} does not order {rank} axes"))) }
}

/// Elements of a row-major tensor of `dims` with its axes in the order `perm`, and its new sizes.
pub(super) fn transposed<T: Copy>(data: &[T], dims: &[usize], perm: &[usize]) -> (Vec<T>, Vec<usize>) {
    let mut steps = vec![1; dims.len()];
    (1..dims.len()).rev().for_each(|axis| steps[axis - 1] = steps[axis] * dims[axis]);
    let new: Vec<usize> = perm.iter().map(|&axis| dims[axis]).collect();
    let place = |mut at: usize| {
        let axes = new.iter().zip(perm).rev();
        axes.fold(0, |place, (&size, &axis)| {
            let index = at % size;
            at /= size;
            place + index * steps[axis]
        })
    };
    ((0..data.len()).map(|at| data[place(at)]).collect(), new)
}

pub(super) fn transpose<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let from = walk.whole(call, 0)?;
    let (data, dims) = transposed(&from.data, &from.dims, &permutation(call, from.dims.len())?);
    Ok(Value::Whole(Whole { dims, data }))
}

/// Every `step`-th row between `start` and `end` of the first axis.
pub(super) fn slice<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let from = walk.whole(call, 0)?;
    let (Some(&rows), [cut]) = (from.dims.first(), &cuts(walk, call)?[..]) else {
        return Err(call.broken("it cuts a list along other than its first axis"));
    };
    if cut.axis != 0 {
        return Err(call.broken("it cuts a list along other than its first axis"));
    }
    let width = from.data.len() / rows.max(1);
    let kept = cut.kept(rows);
    let data: Vec<Size> = kept.iter().flat_map(|row| from.data[row * width..][..width].iter().copied()).collect();
    let dims = std::iter::once(kept.len()).chain(from.dims[1..].iter().copied()).collect();
    Ok(Value::Whole(Whole { dims, data }))
}

/// One axis of a `Slice`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) axis: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
}

impl Cut {
    /// Which of `size` indices are kept, in order; ends are clamped as ONNX's Slice does.
    pub(super) fn kept(&self, size: usize) -> Vec<usize> {
        let size = size as i64;
        let place = |at: i64| at.saturating_add(if at < 0 { size } else { 0 });
        if self.step > 0 {
            let (start, end) = (place(self.start).clamp(0, size), place(self.end).clamp(0, size));
            return (start..end).step_by(self.step as usize).map(|at| at as usize).collect();
        }
        let (start, end) = (place(self.start).clamp(-1, size - 1), place(self.end).clamp(-1, size - 1));
        let step = self.step.unsigned_abs().max(1) as usize;
        (end + 1..=start).rev().step_by(step).map(|at| at as usize).collect()
    }
}

/// The cuts of a `Slice`: inputs from opset 10 on, attributes before.
pub(super) fn cuts<'a>(walk: &Walk<'a>, call: Call<'a>) -> Result<Vec<Cut>, ImportError> {
    call.only(&["axes", "ends", "starts"])?;
    let list = |index: usize, name: &str| match call.input(index) {
        Some(_) => walk.ints(call, index).map(Some),
        None => Ok(call.ints(name).map(<[i64]>::to_vec)),
    };
    let starts = list(1, "starts")?.unwrap_or_default();
    let ends = list(2, "ends")?.unwrap_or_default();
    let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(call.broken("its starts, ends, axes and steps do not belong together"));
    }
    let cut = |at: usize| Cut { axis: axes[at], start: starts[at], end: ends[at], step: steps[at] };
    Ok((0..starts.len()).map(cut).collect())
}

/// `Add`, `Sub`, `Mul` and `Div` of whole numbers; one number counts for all.
pub(super) fn arithmetic<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let (left, right) = (walk.whole(call, 0)?, walk.whole(call, 1)?);
    let count = left.data.len().max(right.data.len());
    let fits = |whole: &Whole| [1, count].contains(&whole.data.len());
    let (Some(a), Some(b)) = (left.known(), right.known()) else {
        return Err(call.refuse("it computes with the size of the batch", "export it for a batch of one"));
    };
    if !fits(&left) || !fits(&right) {
        return Err(call.broken("its sides differ in length"));
    }
    let compute = |a: i64, b: i64| match call.op() {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        _ => a.checked_div(b),
    };
    let pair = |at: usize| compute(a[at % a.len()], b[at % b.len()]).map(Size::Known);
    let data = (0..count).map(pair).collect::<Option<Vec<_>>>();
    let data = data.ok_or_else(|| call.broken("it divides by zero or overflows"))?;
    let dims = if left.data.len() == count { left.dims } else { right.dims };
    Ok(Value::Whole(Whole { dims, data }))
}

/// One value repeated: whole numbers for shapes, or floats.
pub(super) fn constant_of_shape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["value"])?;
    let shape = walk.ints(call, 0)?;
    let dims: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let count = dims.as_ref().and_then(|dims| dims.iter().try_fold(1usize, |count, &size| count.checked_mul(size)));
    let (Some(dims), Some(count)) = (dims, count.filter(|&count| count <= LONGEST)) else {
        return Err(call.refuse(
            format!("it makes a tensor of sizes {shape:?}"),
            "releq computes constants of shapes only; fold constants before exporting",
        ));
    };
    let Some(value) = call.tensor("value").filter(|value| is_whole(value)) else {
        let value = call.tensor("value").map_or(Ok(0.0), |value| walk.real(value))?;
        let dims = dims.into_iter().map(|size| size as i64).collect();
        let tensor = TensorProto { dims, float_data: vec![value; count], data_type: element::FLOAT, ..named(call) };
        return Ok(Value::Constant(Cow::Owned(tensor)));
    };
    match walk.tensor_ints(value)?[..] {
        [value] => Ok(Value::Whole(Whole { dims, data: vec![Size::Known(value); count] })),
        _ => Err(call.broken("its value is not one number")),
    }
}

/// Whether a constant's elements are whole numbers or truth values.
pub(super) fn is_whole(tensor: &TensorProto) -> bool {
    [element::INT32, element::INT64, element::BOOL].contains(&tensor.data_type)
}

fn named(call: Call<'_>) -> TensorProto {
    TensorProto { name: call.label().to_owned(), ..TensorProto::default() }
}
