#include "memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "../include/ckernels.h"
#include "../linear/arena.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace ck {

void discard_pages(void* data, size_t bytes) {
#if defined(__linux__)
  constexpr int kAdvice = MADV_DONTNEED;
#else
  constexpr int kAdvice = MADV_FREE;
#endif
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto last = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, kAdvice);
}

}  // namespace ck

extern "C" void ck_trim_memory(void) {
  ck::trim_weights();
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
