//! The memory planner: where every tensor and every scratch lies in one arena, so that lives may share bytes.

use std::ops::RangeInclusive;

use releq_format::graph::Region;

/// Something that needs `bytes` while the layers `live` run. Step 0 is the writing of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Size, rounded up to 4 by the planner.
    pub bytes: u32,
    /// First and last step of its life.
    pub live: RangeInclusive<usize>,
}

/// Places for all needs, and the arena's size in bytes.
///
/// Largest first, each at the lowest offset where nothing alive at the same time lies (the greedy rule of TensorFlow
/// Lite Micro's planner): within a few percent of the optimum on chains and residual nets, and exact on chains.
pub fn plan(needs: &[Need]) -> (Vec<Region>, u32) {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(needs[index].bytes), index));
    let mut places = vec![Region { offset: 0, bytes: 0 }; needs.len()];
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let bytes = needs[index].bytes.next_multiple_of(4);
        let mut taken: Vec<Region> =
            placed.iter().filter(|&&other| meet(&needs[index], &needs[other])).map(|&other| places[other]).collect();
        taken.sort_by_key(|region| region.offset);
        places[index] = Region { offset: first_gap(&taken, bytes), bytes };
        placed.push(index);
    }
    let end = places.iter().map(|region| region.offset + region.bytes).max().unwrap_or(0);
    (places, end.next_multiple_of(8))
}

fn meet(one: &Need, other: &Need) -> bool {
    one.live.start() <= other.live.end() && other.live.start() <= one.live.end()
}

/// The lowest offset with `bytes` free, given what is taken, by offset.
fn first_gap(taken: &[Region], bytes: u32) -> u32 {
    let mut offset = 0;
    for region in taken {
        if offset + bytes <= region.offset {
            break;
        }
        offset = offset.max(region.offset + region.bytes);
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn need(bytes: u32, live: RangeInclusive<usize>) -> Need {
        Need { bytes, live }
    }

    #[test]
    fn a_chain_needs_its_largest_neighbours() {
        let (_, arena) = plan(&[need(784, 0..=1), need(11520, 1..=2), need(2880, 2..=3), need(10, 3..=3)]);
        assert_eq!(arena, 11520 + 2880);
    }

    proptest! {
        #[test]
        fn what_lives_together_lies_apart(sizes in proptest::collection::vec((0u32..500, 0usize..8, 0usize..4), 1..20)) {
            let needs: Vec<Need> = sizes.into_iter().map(|(bytes, start, span)| need(bytes, start..=start + span)).collect();
            let (places, arena) = plan(&needs);
            for (a, one) in needs.iter().enumerate() {
                prop_assert!(places[a].offset % 4 == 0 && places[a].offset + places[a].bytes <= arena);
                prop_assert!(places[a].bytes >= one.bytes);
                for (b, other) in needs.iter().enumerate().skip(a + 1) {
                    prop_assert!(!meet(one, other) || !places[a].overlaps(&places[b]));
                }
            }
        }
    }
}
