//! Every code that a function returns: its number, which never changes, and its sentences.

use core::ffi::CStr;

use releq_device::OpenError;
use releq_format::image::{Fault, ImageError};

/// One list for the enum, its texts and the test that holds `releq.h` to it.
macro_rules! statuses {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// What a function returns; `releq.h` says the same of each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "names as C writes them, less RELEQ_")]
        pub enum Status {
            $(#[doc = $text] $name = $code,)*
        }

        /// Fact, cause and remedy of a code.
        pub const fn text(code: i32) -> &'static CStr {
            match code {
                $($code => match CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
                    Ok(text) => text,
                    Err(_) => c"",
                },)*
                _ => c"This is no code of releq's. It came from elsewhere. Pass what a releq function returned.",
            }
        }

        /// Names and numbers.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, i32)] = &[$((stringify!($name), $code)),*];
    };
}

statuses! {
    OK = 0, "Done.";
    NULL = 1, "A pointer is null. All but an unused count's are needed. Pass storage.";
    ENGINE_MISALIGNED = 2, "The engine's storage is not at a multiple of 8 bytes. It was cast from bytes. Declare a releq_engine.";
    NOT_OPEN = 3, "The engine has no image. releq_open was not called or failed. Open an image first.";
    IMAGE_MISALIGNED = 16, "The image is not at a multiple of 8 bytes. The linker placed it as bytes. Align its section or array.";
    NOT_AN_IMAGE = 17, "The bytes are no releq image. Flash is erased or holds something else. Write the .rlq file there.";
    IMAGE_VERSION = 18, "The image has another format version. It was made by another release. Make it with this one's tool.";
    IMAGE_TRUNCATED = 19, "The image is shorter than it says. The file or the region ends too early. Write all of it.";
    IMAGE_TRAILING = 20, "The image has bytes that belong to nothing. It was altered. Make it again.";
    IMAGE_CHECKSUM = 21, "The image's checksum does not match. A bit was flipped. Write it again.";
    IMAGE_FEATURES = 22, "The image needs features that this library lacks. It was made by a newer tool. Link the newer library.";
    IMAGE_HEADER = 23, "The image's header contradicts itself. It was not made by releq. Make it again.";
    IMAGE_OTHER = 24, "The image is refused for a reason that this layer has no code for. It was altered. Make it again.";
    LAYER_RECORD = 32, "A layer does not decode. The image was altered. Make it again.";
    LAYER_INPUT = 33, "A layer reads a tensor that does not exist yet. The image was altered. Make it again.";
    LAYER_SHAPE = 34, "A layer's output shape does not follow from its input. The image was altered. Make it again.";
    LAYER_ENCODING = 35, "A layer's activation bits and storage do not go together. The image was altered. Make it again.";
    LAYER_WEIGHTS = 36, "A layer's weight bits and layout do not go together. The image was altered. Make it again.";
    LAYER_SECTION = 37, "A layer's constants lie outside the image. The image was altered. Make it again.";
    LAYER_RANGE = 38, "A layer could overflow its accumulator. The image was altered. Make it again.";
    LAYER_ARENA = 39, "A layer uses memory outside the arena. The image was altered. Make it again.";
    LAYER_OVERLAP = 40, "A layer would overwrite a tensor that is still needed. The image was altered. Make it again.";
    LAYER_LOGITS = 41, "Logits are anywhere but at the end. The image was altered. Make it again.";
    LAYER_UNANNOUNCED = 42, "A layer needs a feature that the image does not name. The image was altered. Make it again.";
    ARENA_TOO_SMALL = 48, "The arena is too small. The image needs releq_detail() bytes. Give that many.";
    ARENA_MISALIGNED = 49, "The arena is not at a multiple of 8 bytes. It was declared as bytes. Declare it as uint64_t or align it.";
    TOO_MANY_LAYERS = 50, "The image has releq_detail() layers. The engine holds RELEQ_MAX_LAYERS. Use a shallower network.";
    MISSING_KERNEL = 51, "No kernel of the list runs layer releq_detail(). It is not linked. Add what releq inspect --kernels prints.";
    OPEN_OTHER = 52, "The image cannot be opened here for a reason that this layer has no code for. It and the library differ in release. Use one release's.";
    SELF_TEST_FAILED = 64, "The image's own test gives other logits. Flash, RAM or the build is damaged. Write image and program again.";
    NO_SELF_TEST = 65, "The image has no test recorded. It was made without. Make it again with the releq tool.";
}

/// A refusal, and the number that `releq_detail` gives for it.
pub(crate) fn of_image(error: ImageError) -> (Status, u32) {
    match error {
        ImageError::Misaligned => (Status::IMAGE_MISALIGNED, 0),
        ImageError::NotAnImage => (Status::NOT_AN_IMAGE, 0),
        ImageError::Version(version) => (Status::IMAGE_VERSION, u32::from(version)),
        ImageError::Truncated => (Status::IMAGE_TRUNCATED, 0),
        ImageError::Trailing => (Status::IMAGE_TRAILING, 0),
        ImageError::Checksum => (Status::IMAGE_CHECKSUM, 0),
        ImageError::Features(bits) => (Status::IMAGE_FEATURES, bits),
        ImageError::Header => (Status::IMAGE_HEADER, 0),
        ImageError::Layer { layer, fault } => (of_fault(fault), u32::from(layer)),
        _ => (Status::IMAGE_OTHER, 0),
    }
}

fn of_fault(fault: Fault) -> Status {
    match fault {
        Fault::Record => Status::LAYER_RECORD,
        Fault::Input => Status::LAYER_INPUT,
        Fault::Shape => Status::LAYER_SHAPE,
        Fault::Encoding => Status::LAYER_ENCODING,
        Fault::Weights => Status::LAYER_WEIGHTS,
        Fault::Section => Status::LAYER_SECTION,
        Fault::Range => Status::LAYER_RANGE,
        Fault::Arena => Status::LAYER_ARENA,
        Fault::Overlap => Status::LAYER_OVERLAP,
        Fault::Logits => Status::LAYER_LOGITS,
        Fault::Unannounced => Status::LAYER_UNANNOUNCED,
        _ => Status::IMAGE_OTHER,
    }
}

/// As [`of_image`], of an engine that cannot be made.
pub(crate) fn of_open(error: OpenError) -> (Status, u32) {
    match error {
        OpenError::ArenaTooSmall { needed, .. } => (Status::ARENA_TOO_SMALL, needed as u32),
        OpenError::ArenaMisaligned => (Status::ARENA_MISALIGNED, 0),
        OpenError::TooManyLayers { needed, .. } => (Status::TOO_MANY_LAYERS, needed as u32),
        OpenError::MissingKernel { layer } => (Status::MISSING_KERNEL, u32::from(layer)),
        _ => (Status::OPEN_OTHER, 0),
    }
}
