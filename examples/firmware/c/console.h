/* Lines on the debugger's console by semihosting, and how deep the stack has been. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stddef.h>
#include <stdint.h>

/* `name: text` */
void print_line(const char *name, const char *text);
/* `name: number number ...` */
void print_numbers(const char *name, const int32_t *numbers, size_t count);
/* Ends the program; the emulator's exit code is 0 for yes and 1 for no. */
_Noreturn void finish(int yes);
/* Bytes of stack used so far, at most. */
size_t stack_high_water(void);

#endif
