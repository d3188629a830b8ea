/* SPDX-License-Identifier: MIT */
/* As much of it as mempool.h names: the binding has no C library. */
#ifndef JS_STDIO_H
#define JS_STDIO_H

typedef struct FILE FILE;

#endif /* JS_STDIO_H */
