/* SPDX-License-Identifier: MIT */
/*
 * For the examples and the misuses in WebAssembly: one that wants what isn't
 * there ends right at that, and tests/check_programs.sh counts a skip.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

pid_t __wrap_fork(void);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_shm_open(const char *name, int flags, mode_t mode);

static _Noreturn void end_as_skip(const char *reason)
{
  puts(reason);
  exit(77);
}

pid_t __wrap_fork(void)
{
  end_as_skip("there is no fork() in WebAssembly");
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
  (void)name;
  (void)flags;
  end_as_skip("there is no memory in Emscripten that can be mapped twice");
}

int __wrap_shm_open(const char *name, int flags, mode_t mode)
{
  (void)mode;
  return __wrap_memfd_create(name, (unsigned)flags);
}

#ifndef __EMSCRIPTEN_PTHREADS__
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
  (void)thread;
  (void)attributes;
  (void)run;
  (void)arg;
  end_as_skip("this build is for one thread");
}
#endif
