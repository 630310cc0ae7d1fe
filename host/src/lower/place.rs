//! How long each tensor of an image lives, and with that its place in the arena.

use releq_format::graph::{Op, Region, TensorRecord};

use super::memory::{self, Need};

/// Places of all tensors, then of each layer's scratch; and the arena's size.
pub(crate) fn place(tensors: &[TensorRecord], layers: &[(Op, [u16; 2], u32)]) -> (Vec<Region>, u32) {
    // Tensor i is written in step i and layer i runs in step i + 1; the logits outlive the last step.
    let mut last_read: Vec<usize> = (0..tensors.len()).collect();
    for (layer, (op, inputs, _)) in layers.iter().enumerate() {
        for &input in &inputs[..op.arity()] {
            last_read[usize::from(input)] = layer + 1;
        }
    }
    let hosts = in_place_hosts(tensors, layers, &mut last_read);
    let tensor_need = |(id, tensor): (usize, &TensorRecord)| Need {
        bytes: if hosts[id] == id { tensor.bytes().unwrap_or(u32::MAX / 2) } else { 0 },
        live: id..=last_read[id],
    };
    let scratch_need =
        |(layer, (_, _, bytes)): (usize, &(Op, [u16; 2], u32))| Need { bytes: *bytes, live: layer + 1..=layer + 1 };
    let mut needs: Vec<Need> = tensors.iter().enumerate().map(tensor_need).collect();
    needs.extend(layers.iter().enumerate().map(scratch_need));
    let (mut places, arena) = memory::plan(&needs);
    for (id, &host) in hosts.iter().enumerate() {
        places[id] = places[host];
    }
    (places, arena)
}

/// Which tensor's bytes each tensor uses: its own, or for an add that may write in place, its left operand's.
fn in_place_hosts(tensors: &[TensorRecord], layers: &[(Op, [u16; 2], u32)], last_read: &mut [usize]) -> Vec<usize> {
    let mut hosts: Vec<usize> = (0..tensors.len()).collect();
    for (layer, (op, inputs, _)) in layers.iter().enumerate() {
        let (left, output) = (usize::from(inputs[0]), layer + 1);
        let dies_here = last_read[left] == layer + 1 && inputs[0] != inputs[1];
        if matches!(op, Op::Add { .. }) && dies_here && tensors[left].storage == tensors[output].storage {
            let host = hosts[left];
            hosts[output] = host;
            last_read[host] = last_read[host].max(last_read[output]);
        }
    }
    hosts
}
