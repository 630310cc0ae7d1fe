//! What the paper reports for each network (Elthakeb et al., arXiv 1811.01704, tables 2 and 3, section "Hardware").

/// A plan with what its authors say it loses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Weight bits of each layer; of another variant of the network where ours has another number of layers.
    pub bits: &'static [u8],
    /// Mean bits as printed.
    pub mean_bits: f64,
    /// Top-1 points lost as printed.
    pub loss: f64,
    /// Weight bits that ADMM (Ye et al., arXiv 1811.01907) gives each layer, where the paper compares with it.
    pub admm: Option<&'static [u8]>,
}

/// Mean gain over eight bits on a CPU with bit-serial kernels (TVM), all networks.
pub const CPU_SPEEDUP: f64 = 2.2;
/// Mean gain over eight bits on a bit-serial accelerator (Stripes), in time and in energy, all networks.
pub const ACCELERATOR_GAIN: f64 = 2.0;

pub(super) const LENET: Published =
    Published { bits: &[2, 2, 3, 2], mean_bits: 2.25, loss: 0.00, admm: Some(&[5, 3, 2, 3]) };
pub(super) const SIMPLENET: Published = Published { bits: &[5; 5], mean_bits: 5.0, loss: 0.30, admm: None };
/// Of 22 tensors, with projections where ours has none.
pub(super) const RESNET20: Published = Published {
    bits: &[8, 2, 2, 3, 2, 2, 2, 3, 2, 3, 3, 3, 2, 2, 2, 2, 3, 2, 2, 2, 2, 8],
    mean_bits: 2.81,
    loss: 0.12,
    admm: None,
};
pub(super) const VGG11: Published =
    Published { bits: &[8, 5, 8, 5, 6, 6, 6, 6, 8], mean_bits: 6.44, loss: 0.17, admm: None };
/// On ImageNet.
pub(super) const MOBILENET: Published = Published {
    bits: &[8, 5, 6, 6, 4, 4, 7, 8, 4, 6, 8, 5, 5, 8, 6, 7, 7, 7, 6, 8, 6, 8, 8, 6, 7, 5, 5, 7, 8, 8],
    mean_bits: 6.43,
    loss: 0.26,
    admm: None,
};
/// On ImageNet.
pub(super) const ALEXNET: Published =
    Published { bits: &[8, 4, 4, 4, 4, 4, 4, 8], mean_bits: 5.0, loss: 0.08, admm: Some(&[8, 5, 5, 5, 5, 3, 3, 8]) };
/// On SVHN.
pub(super) const SVHN: Published =
    Published { bits: &[8, 4, 4, 4, 4, 4, 4, 4, 4, 8], mean_bits: 4.80, loss: 0.00, admm: None };

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed means are those of the lists, but for one tensor of ResNet-20 that the paper counts otherwise.
    #[test]
    fn means_are_those_of_the_lists() {
        for published in [LENET, SIMPLENET, RESNET20, VGG11, MOBILENET, ALEXNET, SVHN] {
            let sum: u32 = published.bits.iter().copied().map(u32::from).sum();
            let mean = f64::from(sum) / published.bits.len() as f64;
            assert!((mean - published.mean_bits).abs() < 0.1, "{mean} {published:?}");
        }
    }
}
