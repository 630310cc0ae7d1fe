//! TFLite operators that change a tensor's shape or put zeros around it.

use super::operator::{Call, LARGEST};
use super::walk::{Activation, Form, Translated, Walk};
use crate::network::{Op, Source};

const REMEDY: &str = "flatten to [n, features] once, before the dense layers";

/// A map as features, in the order of the network; dense layers after it turn their columns.
pub(super) fn flattened<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation) -> Translated {
    let [c, h, w] = walk.shape(input);
    let ordered = c == 1 || h * w == 1;
    let source = walk.push(call, "flatten", Op::Flatten, vec![input.source], Vec::new())?;
    Ok(Activation { source, form: Form::Features((!ordered).then_some([c, h, w])), padding: [0; 4] })
}

/// A reshape that flattens, that makes a map of the input's features, or that changes nothing.
pub(super) fn reshape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let input = walk.activation(call, 0)?;
    let target = if call.optional(1).is_some() { walk.ints(call, 1)? } else { call.options().new_shape.clone() };
    let [c, h, w] = walk.shape(input);
    let refused = || call.refuse(format!("it reshapes [{h}, {w}, {c}] to {target:?}"), REMEDY);
    // The batch is 1 or left to be found; so may one other size be.
    let (Some((_, sizes)), true) = (target.split_first(), target.iter().filter(|&&size| size < 0).count() <= 1) else {
        return Err(refused());
    };
    let fits = |shape: &[usize]| {
        sizes.len() == shape.len()
            && sizes.iter().zip(shape).all(|(&given, &size)| given == -1 || usize::try_from(given) == Ok(size))
    };
    let features = c * h * w;
    match input.form {
        Form::Image if fits(&[h, w, c]) => Ok(input),
        Form::Image if fits(&[features]) => flattened(walk, call, input),
        Form::Features(_) if fits(&[features]) => Ok(input),
        Form::Features(Some([c, h, w])) if fits(&[h, w, c]) => Err(refused()),
        Form::Features(None) if fits(&[1, 1, features]) && [h, w] == [1, 1] => {
            Ok(Activation { form: Form::Image, ..input })
        }
        Form::Features(None) => {
            let shape: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
            match shape.as_deref() {
                // One channel has one order, so the features may as well have come as this map.
                Some(&[h, w, 1]) if input.source == Source::Input && h.checked_mul(w) == Some(features) => {
                    if !walk.network.graph.nodes.is_empty() {
                        return Err(refused());
                    }
                    walk.network.graph.input.shape = [1, h, w];
                    Ok(Activation { form: Form::Image, ..input })
                }
                _ => Err(refused()),
            }
        }
        _ => Err(refused()),
    }
}

/// Sizes of 1 that disappear: a pooled map becomes features.
pub(super) fn squeeze<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let input = walk.activation(call, 0)?;
    match walk.shape(input) {
        [_, 1, 1] => Ok(Activation { form: Form::Features(None), ..input }),
        [c, h, w] => Err(call.refuse(format!("it squeezes a map of [{h}, {w}, {c}]"), REMEDY)),
    }
}

/// Zeros around height and width, which the next window takes.
pub(super) fn pad<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (input, _) = walk.map(call, 0)?;
    let amounts = walk.ints(call, 1)?;
    match amounts[..] {
        [0, 0, top, bottom, left, right, 0, 0]
            if [top, bottom, left, right].iter().all(|size| (0..=LARGEST).contains(size)) =>
        {
            let own = [top, left, bottom, right].map(|size| size as usize);
            Ok(Activation { padding: std::array::from_fn(|side| own[side] + input.padding[side]), ..input })
        }
        _ => Err(call.refuse(format!("it pads by {amounts:?}"), "pad height and width of an image")),
    }
}
