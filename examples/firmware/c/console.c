/* Semihosting (Arm IHI 0100): operation in r0, parameter in r1, trap. */
#include "console.h"

#define SYS_OPEN 0x01
#define SYS_WRITE 0x05
#define SYS_EXIT 0x18
#define FOR_WRITING 4
#define APPLICATION_EXIT 0x20026
#define RUNTIME_ERROR 0x20023

static uintptr_t trap(uint32_t operation, uintptr_t parameter)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* To the host's standard output, which is the file `:tt`. */
static void print(const char *text)
{
    static uintptr_t output;
    uintptr_t write[3] = {0, (uintptr_t)text, 0};

    if (output == 0)
        output = trap(SYS_OPEN, (uintptr_t)(const uintptr_t[]){(uintptr_t) ":tt", FOR_WRITING, 3});
    write[0] = output;
    while (text[write[2]] != '\0')
        write[2]++;
    trap(SYS_WRITE, (uintptr_t)write);
}

void print_line(const char *name, const char *text)
{
    print(name);
    print(": ");
    print(text);
    print("\n");
}

/* The digits of a number, written from the right; 32 bits have ten at most. */
static void print_decimal(int32_t number)
{
    char digits[12];
    char *first = digits + sizeof digits - 1;
    uint32_t left = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;

    *first = '\0';
    do {
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *--first = '-';
    print(first);
}

void print_numbers(const char *name, const int32_t *numbers, size_t count)
{
    print(name);
    print(":");
    for (size_t index = 0; index < count; index++) {
        print(" ");
        print_decimal(numbers[index]);
    }
    print("\n");
}

_Noreturn void finish(int yes)
{
    for (;;)
        trap(SYS_EXIT, yes ? APPLICATION_EXIT : RUNTIME_ERROR);
}
