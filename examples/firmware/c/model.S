/* Image and sample as they are on disk. The image is read in place, at a multiple of 8 bytes. */
    .section .rodata.model, "a"
    .balign 8
    .global image_start, image_end, sample_start, sample_end
image_start:
    .incbin "lenet5.rlq"
image_end:
sample_start:
    .incbin "seven.codes"
sample_end:
