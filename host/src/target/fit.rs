//! Whether an image has room on a board, and if not, which layer takes it.

use releq_device::board::Board;
use releq_format::image::Image;

use crate::summary::{ImageSummary, LayerSummary};
use crate::terminal::grouped;

/// Why an image does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The image is longer than the model region.
    #[error(
        "{network} does not fit {board}: it takes {} bytes of flash and the model region has {}, {} too few; \
         layer `{layer}` takes the most, {} bytes; give it fewer weight bits or choose a larger board",
        grouped(*.needed), grouped(*.room), grouped(.needed - .room), grouped(*.largest)
    )]
    Flash {
        /// The network.
        network: String,
        /// The board.
        board: &'static str,
        /// Bytes of the image.
        needed: u64,
        /// Bytes of the model region.
        room: u64,
        /// The layer with the most constants.
        layer: String,
        /// Its bytes.
        largest: u64,
    },
    /// The image needs more working memory than the runner's arena.
    #[error(
        "{network} does not fit {board}: it needs {} bytes of RAM and the arena has {}, {} too few; \
         layer `{layer}` takes the most, {} bytes of output and scratch; \
         give it fewer activation bits, pool earlier or choose a larger board",
        grouped(*.needed), grouped(*.room), grouped(.needed - .room), grouped(*.largest)
    )]
    Ram {
        /// The network.
        network: String,
        /// The board.
        board: &'static str,
        /// Bytes of arena the image needs.
        needed: u64,
        /// Bytes of the board's arena.
        room: u64,
        /// The layer with the most output and scratch.
        layer: String,
        /// Its bytes.
        largest: u64,
    },
    /// The image has more layers than the runner's table.
    #[error(
        "{network} does not fit {board}: it has {needed} layers and the runner holds {room}; \
         build a runner with a larger `max_layers`"
    )]
    Layers {
        /// The network.
        network: String,
        /// The board.
        board: &'static str,
        /// Layers of the image.
        needed: usize,
        /// Layers the runner holds.
        room: usize,
    },
}

/// Checks that `board` has room for `image`.
///
/// # Errors
/// [`FitError`], the scarcest resource first: flash, RAM, layers.
pub fn check_fit(board: &Board, image: &Image<'_>) -> Result<(), FitError> {
    let summary = ImageSummary::of(image);
    let (network, name) = (summary.name.clone(), board.name);
    let (flash, arena) = (u64::from(board.model.length), board.arena_bytes as u64);
    if summary.bytes > flash {
        let (layer, largest) = largest(&summary, LayerSummary::constant_bytes);
        return Err(FitError::Flash { network, board: name, needed: summary.bytes, room: flash, layer, largest });
    }
    if summary.arena_bytes > arena {
        let (layer, largest) = largest(&summary, |layer| layer.output_bytes + layer.scratch_bytes);
        return Err(FitError::Ram { network, board: name, needed: summary.arena_bytes, room: arena, layer, largest });
    }
    if image.layer_count() > board.max_layers {
        return Err(FitError::Layers { network, board: name, needed: image.layer_count(), room: board.max_layers });
    }
    Ok(())
}

/// The layer that takes the most of something, and how much.
fn largest(summary: &ImageSummary, bytes: impl Fn(&LayerSummary) -> u64) -> (String, u64) {
    let most = summary.layers.iter().max_by_key(|layer| bytes(layer));
    most.map_or((String::new(), 0), |layer| (layer.name.clone(), bytes(layer)))
}

#[cfg(test)]
mod tests {
    use releq_device::board::{Memory, VIRT_M4};
    use releq_format::image::ImageBuffer;

    use super::*;

    const TINY: &[u8] = include_bytes!("../../../format/golden/v1/tiny.rlq");

    #[test]
    fn what_lacks_is_named_with_its_layer() {
        let bytes = ImageBuffer::from(TINY);
        let image = Image::open(&bytes).unwrap();
        assert_eq!(check_fit(&VIRT_M4, &image), Ok(()));
        let small = |model: u32, arena_bytes| Board {
            model: Memory { length: model, ..VIRT_M4.model },
            arena_bytes,
            ..VIRT_M4
        };
        let exact = (image.len() as u32, image.arena_bytes());
        assert_eq!(check_fit(&small(exact.0, exact.1), &image), Ok(()));
        let flash = check_fit(&small(exact.0 - 1, exact.1), &image).unwrap_err();
        assert!(matches!(&flash, FitError::Flash { needed, room, .. } if needed - room == 1), "{flash}");
        let ram = check_fit(&small(exact.0, exact.1 - 1), &image).unwrap_err();
        assert!(matches!(&ram, FitError::Ram { needed, room, .. } if needed - room == 1), "{ram}");
        for (error, what) in [(flash, "1 too few"), (ram, "fewer activation bits")] {
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
