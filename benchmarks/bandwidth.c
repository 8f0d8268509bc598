/* For every line of its input prints the best bandwidth of a probe, in bytes per second: THREADS
 * threads read memory for a fifth of a second, each round and round a stretch of its own, far
 * larger than the caches, on huge pages where there are any. What counts is the best window, in
 * which they read BYTES between them, however many of those each. Between probes the process
 * sleeps. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { THREADS = 2, WINDOWS = 256 };
static const size_t BYTES = (size_t)512 << 20, PIECE = (size_t)256 << 10;
static const double SECONDS = 0.2;

typedef uint64_t vector __attribute__((vector_size(64)));

static char* buffer;
static _Atomic size_t claimed;
/* Times before the first piece of a window was claimed, and after: a thread that the system stops
 * in between must make no window look shorter. */
static double before[WINDOWS + 1], after[WINDOWS + 1];
static double end;
static volatile vector sink;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add(const char* bytes, vector* all) {
  const vector* vectors = (const vector*)bytes;
  vector sums[8] = {0};
  for (size_t i = 0; i < PIECE / sizeof(vector); i += 8)
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += vectors[i + lane];
  for (size_t lane = 0; lane < 8; ++lane) *all += sums[lane];
}

static void* reader(void* argument) {
  const size_t stretch = BYTES / THREADS, window = BYTES / PIECE;
  const char* mine = buffer + stretch * (size_t)(uintptr_t)argument;
  vector all = {0};
  for (size_t at = 0;; at = (at + PIECE) % stretch) {
    double start = now();
    size_t piece = atomic_fetch_add(&claimed, 1);
    if ((start > end && after[1] > 0) || piece > window * WINDOWS) break;
    if (piece % window == 0) {
      before[piece / window] = start;
      after[piece / window] = now();
    }
    add(mine + at, &all);
  }
  sink = all;
  return NULL;
}

static double probe(void) {
  pthread_t threads[THREADS];
  memset(after, 0, sizeof after);
  atomic_store(&claimed, 0);
  end = now() + SECONDS;
  for (uintptr_t i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, reader, (void*)i);
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  double best = 0;
  for (int i = 0; i < WINDOWS && after[i + 1] > 0; ++i) {
    double bandwidth = (double)BYTES / (after[i + 1] - before[i]);
    if (bandwidth > best) best = bandwidth;
  }
  return best;
}

int main(void) {
  buffer = aligned_alloc((size_t)2 << 20, BYTES);
  if (!buffer) return 1;
#ifdef MADV_HUGEPAGE
  madvise(buffer, BYTES, MADV_HUGEPAGE);
#endif
  memset(buffer, 1, BYTES);
  for (int c; (c = getchar()) != EOF;)
    if (c == '\n') {
      printf("%.0f\n", probe());
      fflush(stdout);
    }
  return 0;
}
