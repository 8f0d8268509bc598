#include "memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

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

namespace {

/// Of "max", or a number.
double bytes_in(const std::string& file) {
  std::ifstream stream(file);
  double bytes;
  return stream >> bytes ? bytes : std::numeric_limits<double>::infinity();
}

double memory_v2(const std::string& group) { return bytes_in(group + "/memory.max"); }
double memory_v1(const std::string& group) { return bytes_in(group + "/memory.limit_in_bytes"); }

}  // namespace

double group_memory(const GroupFiles& files) {
  return least_group_limit("memory", memory_v2, memory_v1, files);
}

size_t machine_memory() {
  const auto pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));
  const double machine = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  return static_cast<size_t>(std::min(machine, group_memory()));
}

}  // namespace ck

extern "C" size_t ck_machine_memory(void) { return ck::machine_memory(); }

extern "C" void ck_trim_memory(void) {
  ck::trim_weights();
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
