/* releq's inference engine for C: runs .rlq images. No heap, no floating point, no I/O; it cannot panic or abort.
 *
 * Link libreleq.a with -Wl,--gc-sections: then a program holds only the kernels that it lists. The library is built for
 * one core, as the program is: thumbv7em-none-eabihf is -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16.
 *
 * What a caller promises, of every function:
 *   - engine points to a releq_engine that was zeroed (static storage is) or given to releq_open, and that no other
 *     context uses meanwhile. A function is not reentrant on one engine; on different engines it is;
 *   - image, arena and the list of kernels stay where they are, and the image as it is, while the engine is used;
 *   - the arena is the engine's alone: besides releq_input's bytes, nothing in it is to be written;
 *   - the three do not overlap.
 * Null pointers, misaligned storage and any image at all, damaged or hostile, are answered with a code, not a fault.
 */
#ifndef RELEQ_H
#define RELEQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most layers of an image. */
#define RELEQ_MAX_LAYERS 48
/* Bytes of a releq_engine, in RAM beside the arena. */
#define RELEQ_ENGINE_BYTES 2816

/* An engine's storage, 8-aligned by its type. What is inside is the library's. */
typedef struct releq_engine {
    uint64_t opaque[RELEQ_ENGINE_BYTES / 8];
} releq_engine;

/* A kernel: one way to run some layers. `releq inspect --kernels` prints those an image needs. */
typedef struct releq_kernel releq_kernel;

/* Portable kernels, for every core. */
extern const releq_kernel releq_packed_conv2d;
extern const releq_kernel releq_packed_depthwise;
extern const releq_kernel releq_packed_dense;
extern const releq_kernel releq_packed_maxpool;
extern const releq_kernel releq_packed_avgpool;
extern const releq_kernel releq_packed_add;
extern const releq_kernel releq_packed_concat;
/* Kernels of cores with the DSP extension: Cortex-M4, M7, M33. Several times faster, and larger. */
extern const releq_kernel releq_dsp_conv2d;
extern const releq_kernel releq_dsp_depthwise;
extern const releq_kernel releq_dsp_dense;
extern const releq_kernel releq_dsp_maxpool;
extern const releq_kernel releq_dsp_avgpool;
extern const releq_kernel releq_dsp_add;

/* What a function returns. Numbers never change their meaning; releq_error_text has cause and remedy of each. */
typedef int32_t releq_status;
enum {
    RELEQ_OK = 0,                 /* done */
    RELEQ_NULL = 1,               /* a pointer, or one in the list of kernels, is null */
    RELEQ_ENGINE_MISALIGNED = 2,  /* the engine's storage is not at a multiple of 8 bytes */
    RELEQ_NOT_OPEN = 3,           /* releq_open was not called or failed */

    /* The image is refused as a whole. */
    RELEQ_IMAGE_MISALIGNED = 16,  /* it is not at a multiple of 8 bytes */
    RELEQ_NOT_AN_IMAGE = 17,      /* it does not begin with the mark of an image: erased flash, another file */
    RELEQ_IMAGE_VERSION = 18,     /* another format version; releq_detail: which */
    RELEQ_IMAGE_TRUNCATED = 19,   /* shorter than it says */
    RELEQ_IMAGE_TRAILING = 20,    /* it has bytes that belong to nothing */
    RELEQ_IMAGE_CHECKSUM = 21,    /* a bit was flipped */
    RELEQ_IMAGE_FEATURES = 22,    /* it needs what this library lacks; releq_detail: the feature bits */
    RELEQ_IMAGE_HEADER = 23,      /* its header contradicts itself */
    RELEQ_IMAGE_OTHER = 24,       /* a reason without a code of its own */

    /* A layer is refused; releq_detail: its index, from 0. */
    RELEQ_LAYER_RECORD = 32,      /* it does not decode */
    RELEQ_LAYER_INPUT = 33,       /* it reads a tensor that does not exist yet */
    RELEQ_LAYER_SHAPE = 34,       /* its output shape does not follow from its input */
    RELEQ_LAYER_ENCODING = 35,    /* activation bits, zero point and storage do not go together */
    RELEQ_LAYER_WEIGHTS = 36,     /* weight bits, levels and layout do not go together */
    RELEQ_LAYER_SECTION = 37,     /* its constants lie outside the image */
    RELEQ_LAYER_RANGE = 38,       /* it could overflow its accumulator */
    RELEQ_LAYER_ARENA = 39,       /* it uses memory outside the arena */
    RELEQ_LAYER_OVERLAP = 40,     /* it would overwrite a tensor that is still needed */
    RELEQ_LAYER_LOGITS = 41,      /* logits anywhere but at the end */
    RELEQ_LAYER_UNANNOUNCED = 42, /* it needs a feature that the image does not name */

    /* The image is sound, but not for this engine. */
    RELEQ_ARENA_TOO_SMALL = 48,   /* releq_detail: the bytes it needs */
    RELEQ_ARENA_MISALIGNED = 49,  /* the arena is not at a multiple of 8 bytes */
    RELEQ_TOO_MANY_LAYERS = 50,   /* more than RELEQ_MAX_LAYERS; releq_detail: how many */
    RELEQ_MISSING_KERNEL = 51,    /* no kernel of the list runs a layer; releq_detail: its index, from 0 */
    RELEQ_OPEN_OTHER = 52,        /* a reason without a code of its own */

    RELEQ_SELF_TEST_FAILED = 64,  /* other logits than recorded */
    RELEQ_NO_SELF_TEST = 65       /* the image records none */
};

/* Checks the image at the start of image_bytes bytes, which may be a whole region of flash, and makes it ready to run.
 * image, arena: at multiples of 8 bytes. arena_bytes: at least what `releq inspect` prints as RAM.
 * kernels: kernel_count pointers, the best first; a layer gets the first that runs it, of the family that the image
 * hints at if there is one.
 * Returns RELEQ_OK; RELEQ_NULL, RELEQ_ENGINE_MISALIGNED; any code of an image, of a layer or from RELEQ_ARENA_TOO_SMALL
 * to RELEQ_OPEN_OTHER. The time it takes grows with the image, by its checksum. An engine may be opened anew at any time. */
releq_status releq_open(releq_engine *engine, const uint8_t *image, size_t image_bytes, uint8_t *arena,
                        size_t arena_bytes, const releq_kernel *const *kernels, size_t kernel_count);

/* The number that belongs to the last answer of releq_open, as its code says; 0 where none does. */
uint32_t releq_detail(const releq_engine *engine);

/* Where the input codes go: *bytes of them, packed as the image's input record says (8-bit inputs: one byte a code, by
 * rows, channels innermost). bytes may be null. Running overwrites them. Null, and 0 bytes, if no image is open. */
uint8_t *releq_input(releq_engine *engine, size_t *bytes);

/* Runs every layer once on what releq_input's bytes hold. Returns RELEQ_OK or RELEQ_NOT_OPEN. */
releq_status releq_run(releq_engine *engine);

/* Copies the logits of the last run, at most capacity of them, and returns how many there are; 0 if no image is open.
 * Their unit is the image's logit scale; only their order matters for the class. logits may be null: then it counts. */
size_t releq_logits(releq_engine *engine, int32_t *logits, size_t capacity);

/* The class with the largest logit, from 0; the lowest on a tie; -1 if no image is open. */
int32_t releq_top1(releq_engine *engine);

/* Runs the image's own test, which overwrites input and logits. Returns RELEQ_OK, RELEQ_SELF_TEST_FAILED,
 * RELEQ_NO_SELF_TEST or RELEQ_NOT_OPEN. */
releq_status releq_self_test(releq_engine *engine);

/* Three sentences in English: fact, cause and remedy. Never null; static storage. */
const char *releq_error_text(releq_status status);

#ifdef __cplusplus
}
#endif

#endif
