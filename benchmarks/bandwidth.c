/* Prints the best read bandwidth of the machine, in bytes per second: THREADS threads sum a buffer
 * far larger than the caches, on huge pages where there are any, again and again. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { THREADS = 2, RUNS = 40 };
static const size_t BYTES = (size_t)512 << 20;

static uint64_t *buffer;
static volatile uint64_t sink;
static pthread_barrier_t gate;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *reader(void *argument) {
  const size_t words = BYTES / sizeof(uint64_t) / THREADS;
  const uint64_t *mine = buffer + words * (size_t)(uintptr_t)argument;
  for (int run = 0; run < RUNS; ++run) {
    pthread_barrier_wait(&gate);
    uint64_t sums[32] = {0};
    for (size_t i = 0; i < words; i += 32)
      for (size_t lane = 0; lane < 32; ++lane) sums[lane] += mine[i + lane];
    for (size_t lane = 0; lane < 32; ++lane) sink += sums[lane];
    pthread_barrier_wait(&gate);
  }
  return NULL;
}

int main(void) {
  buffer = aligned_alloc((size_t)2 << 20, BYTES);
  if (!buffer) return 1;
#ifdef MADV_HUGEPAGE
  madvise(buffer, BYTES, MADV_HUGEPAGE);
#endif
  memset(buffer, 1, BYTES);
  pthread_barrier_init(&gate, NULL, THREADS + 1);
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, reader, (void *)i);
  double best = 1e9;
  for (int run = 0; run < RUNS; ++run) {
    pthread_barrier_wait(&gate);
    double start = now();
    pthread_barrier_wait(&gate);
    double seconds = now() - start;
    if (seconds < best) best = seconds;
  }
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  printf("%.0f\n", (double)BYTES / best);
  return 0;
}
