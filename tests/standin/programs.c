/* SPDX-License-Identifier: MIT */
/*
 * For the examples and the misuses where there are no threads: one that wants
 * some ends right there, and tests/check_programs.sh counts a skip.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
  (void)thread;
  (void)attributes;
  (void)run;
  (void)arg;
  puts("this build is for one thread");
  exit(77);
}
