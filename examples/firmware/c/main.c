/* LeNet from C: the image and a sample linked in, run on an emulated or real Cortex-M4, the verdict as exit code.
 * It prints what the Rust example `embedded` prints, logit for logit. */
#include "console.h"
#include "releq.h"

/* model.S puts both into flash, the image at a multiple of 8 bytes. */
extern const uint8_t image_start[], image_end[], sample_start[], sample_end[];

/* What `releq inspect --kernels` prints for the image, of the family of this core. */
static const releq_kernel *const kernels[] = {&releq_dsp_conv2d, &releq_dsp_dense, &releq_dsp_maxpool};

/* RAM of the model, 8-aligned: `releq inspect` prints how much it needs. */
static uint64_t arena[8 * 1024 / 8];
static releq_engine engine;

static void require(releq_status status)
{
    if (status != RELEQ_OK) {
        print_line("refused", releq_error_text(status));
        finish(0);
    }
}

int main(void)
{
    int32_t logits[16];
    size_t bytes, count;
    uint8_t *input;

    require(releq_open(&engine, image_start, (size_t)(image_end - image_start), (uint8_t *)arena, sizeof arena, kernels,
                       sizeof kernels / sizeof kernels[0]));
    require(releq_self_test(&engine));
    print_line("self-test", "passed");

    input = releq_input(&engine, &bytes);
    if (bytes != (size_t)(sample_end - sample_start)) {
        print_line("refused", "the sample is no input of this image; it is of another size; link the image's own");
        finish(0);
    }
    for (size_t index = 0; index < bytes; index++)
        input[index] = sample_start[index];
    require(releq_run(&engine));

    print_numbers("class", (const int32_t[]){releq_top1(&engine)}, 1);
    count = releq_logits(&engine, logits, sizeof logits / sizeof logits[0]);
    print_numbers("logits", logits, count);
    print_numbers("stack bytes", (const int32_t[]){(int32_t)stack_high_water()}, 1);
    finish(1);
}
