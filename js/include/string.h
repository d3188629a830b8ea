/* SPDX-License-Identifier: MIT */
/* As much of it as the library's rooms of the binding name: it has no C library, and what these compile to needs none. */
#ifndef JS_STRING_H
#define JS_STRING_H

#include <stddef.h>

void *memset(void *memory, int byte, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);
char *strncpy(char *to, const char *from, size_t bytes);

#endif /* JS_STRING_H */
