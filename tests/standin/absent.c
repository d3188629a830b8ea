/* SPDX-License-Identifier: MIT */
/*
 * What WebAssembly has no counterpart of.  Linked with --wrap, so that a test
 * that asks for it ends right there, as a skip with the reason.
 */
#include "../runner.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>

pid_t __wrap_fork(void);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_mincore(void *address, size_t bytes, unsigned char *resident);
int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int __wrap_pipe(int ends[2]);
int __wrap_prctl(int option, ...);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);
int __wrap_pthread_kill(pthread_t thread, int number);
int __wrap_shm_open(const char *name, int flags, mode_t mode);
int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer);
int __wrap_timer_settime(timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old);
int __wrap_timer_delete(timer_t timer);
int __wrap_unshare(int flags);

static _Noreturn void end_as_skip(const char *reason)
{
  skip_test(reason);
  standin_leave_test();
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

int __wrap_mincore(void *address, size_t bytes, unsigned char *resident)
{
  (void)address;
  (void)bytes;
  (void)resident;
  end_as_skip("WebAssembly's memory isn't faulted in by pages");
}

int __wrap_pipe(int ends[2])
{
  (void)ends;
  end_as_skip("there is no pipe that a thread could block on in Emscripten");
}

int __wrap_pthread_kill(pthread_t thread, int number)
{
  (void)thread;
  (void)number;
  end_as_skip("there are no signals to threads in WebAssembly");
}

int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
  (void)clock;
  (void)event;
  (void)timer;
  end_as_skip("there are no timers that send signals in WebAssembly");
}

/* These are linked, and never called. */
int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
  (void)source;
  (void)target;
  (void)type;
  (void)flags;
  (void)data;
  return -1;
}

int __wrap_prctl(int option, ...)
{
  (void)option;
  return -1;
}

int __wrap_unshare(int flags)
{
  (void)flags;
  return -1;
}

int __wrap_timer_settime(timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old)
{
  (void)timer;
  (void)flags;
  (void)value;
  (void)old;
  return -1;
}

int __wrap_timer_delete(timer_t timer)
{
  (void)timer;
  return -1;
}

#ifndef __EMSCRIPTEN_PTHREADS__
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
  (void)thread;
  (void)attributes;
  (void)run;
  (void)arg;
  end_as_skip("this build is for one thread");
}
#endif
