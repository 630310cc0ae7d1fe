/* Start-up without a C library: vectors, memory, then main. The linker script has the addresses. */
#include "console.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_end[], stack_start[];

int main(void);

/* What the stack is filled with before it is used. */
#define PAINT 0xCCCCCCCCu

/* Naked: a frame of its own would lie in what it paints. The floating-point unit stays off: releq does not use it. */
__attribute__((naked, noreturn)) void reset(void)
{
    __asm__ volatile("ldr r0, =stack_end\n"
                     "ldr r1, =stack_start\n"
                     "ldr r2, =0xCCCCCCCC\n"
                     "0: cmp r0, r1\n"
                     "it lo\n"
                     "strlo r2, [r0], #4\n"
                     "blo 0b\n"
                     "b start\n");
}

__attribute__((used, noreturn)) static void start(void)
{
    for (uint32_t *to = data_start, *from = data_load; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    main();
    finish(0);
}

static void fault(void)
{
    print_line("refused", "a fault: the program or its memory is damaged; write it again");
    finish(0);
}

size_t stack_high_water(void)
{
    const volatile uint32_t *lowest = stack_end;

    while (lowest < stack_start && *lowest == PAINT)
        lowest++;
    return (size_t)((uintptr_t)stack_start - (uintptr_t)lowest);
}

/* The core's own exceptions; this program enables no interrupts. */
struct vectors {
    uint32_t *stack;
    void (*handlers[15])(void);
};
__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    stack_start,
    {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault},
};
