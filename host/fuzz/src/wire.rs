//! Protobuf messages taken apart without their schema, changed field by field, and put together with right lengths.
//!
//! A change of bytes leaves the lengths around it wrong, so that nearly all of a fuzzer's inputs would be no message.

use crate::dice::Dice;

/// Deepest nesting that is taken apart.
const DEEPEST: usize = 8;
/// Most fields of a message; what grows beyond is left as it is.
const MOST: usize = 1 << 12;

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its number and wire type, as one word.
    key: u64,
    value: Value,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(u64),
    /// Of four or eight bytes.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

/// The fields of `bytes`, if these are a message.
pub fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    nested(bytes, DEEPEST)
}

/// The message that `fields` make.
pub fn message(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { key, value } in fields {
        put(&mut bytes, *key);
        match value {
            Value::Number(number) => put(&mut bytes, *number),
            Value::Fixed(word) => bytes.extend_from_slice(word),
            Value::Bytes(inside) => put_all(&mut bytes, inside),
            Value::Message(inside) => put_all(&mut bytes, &message(inside)),
        }
    }
    bytes
}

/// Changes one thing somewhere: a value, a field's number, the order, or how often there is something.
pub fn change(fields: &mut Vec<Field>, dice: &mut Dice) {
    if fields.is_empty() || fields.len() > MOST {
        return;
    }
    let (one, other) = (dice.below(fields.len()), dice.below(fields.len()));
    // Mostly deeper: there is more.
    if let Value::Message(inside) = &mut fields[one].value
        && !dice.once_in(6)
    {
        return change(inside, dice);
    }
    match dice.below(8) {
        0 => fields.swap(one, other),
        1 => drop(fields.remove(one)),
        2 => fields.insert(other, fields[one].clone()),
        // What one field says becomes what another does: names are wired anew, ops exchanged.
        3 | 4 => fields[one].value = fields[other].value.clone(),
        5 => fields[one].key = u64::from(dice.number(fields[one].key as u32)),
        _ => fields[one].value.change(dice),
    }
}

impl Value {
    fn change(&mut self, dice: &mut Dice) {
        match self {
            // Negative ones are ten bytes long.
            Self::Number(number) => {
                let changed = u64::from(dice.number(*number as u32));
                *number = if dice.once_in(4) { changed.wrapping_neg() } else { changed };
            }
            Self::Fixed(word) => {
                let at = dice.below(word.len().max(1));
                word.get_mut(at).into_iter().for_each(|byte| *byte = dice.word() as u8);
            }
            Self::Bytes(bytes) => change_bytes(bytes, dice),
            Self::Message(inside) => change(inside, dice),
        }
    }
}

fn change_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(5) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.word() as u8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => {
            // Floats at their edges.
            let edge = dice.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 0.0, -1.0]);
            let place = bytes.get_mut(at & !3..).and_then(|rest| rest.first_chunk_mut::<4>());
            place.into_iter().for_each(|word| *word = edge.to_le_bytes());
        }
        _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte = dice.word() as u8),
    }
}

fn nested(mut bytes: &[u8], deepest: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(take(&mut bytes)?),
            1 => Value::Fixed(bytes.split_off(..8)?.to_vec()),
            5 => Value::Fixed(bytes.split_off(..4)?.to_vec()),
            2 => {
                let length = usize::try_from(take(&mut bytes)?).ok()?;
                let inside = bytes.split_off(..length)?;
                // Text may look like a message, and is then changed as one.
                let message = if deepest == 0 || inside.is_empty() { None } else { nested(inside, deepest - 1) };
                message.map_or_else(|| Value::Bytes(inside.to_vec()), Value::Message)
            }
            _ => return None,
        };
        if key >> 3 == 0 || fields.len() > MOST {
            return None;
        }
        fields.push(Field { key, value });
    }
    Some(fields)
}

/// A number of seven bits a byte.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..10 {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_all(bytes: &mut Vec<u8>, inside: &[u8]) {
    put(bytes, inside.len() as u64);
    bytes.extend_from_slice(inside);
}
