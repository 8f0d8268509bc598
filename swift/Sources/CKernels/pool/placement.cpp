#include "placement.hpp"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <utility>
#endif

namespace ck {

#if defined(__linux__)
namespace {

// The kernel's sched_attr (linux/sched/types.h), of which C libraries have none before 2025.
struct SchedulingAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

constexpr uint64_t kLongestSlice = 100'000'000;  // nanoseconds; the kernel allows no more
// A thread that outlasts its slice may lose its processor in the middle of its work: handing out a
// step takes 0.1 to 0.2 ms.
constexpr uint64_t kShortSlice = 400'000;

void take_slices(uint64_t nanoseconds) {
  SchedulingAttributes attributes{};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;  // somebody has decided otherwise
  attributes.size = sizeof attributes;
  attributes.runtime = nanoseconds;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

const cpu_set_t& allowed() {
  static const cpu_set_t set = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  return set;
}

/// The `index`-th of a set; all of it where there is none.
cpu_set_t only(int index, const cpu_set_t& set) {
  for (int processor = 0; processor < CPU_SETSIZE; processor++) {
    if (!CPU_ISSET(processor, &set) || index-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    return one;
  }
  return set;
}

}  // namespace

void note_processors() { allowed(); }

void take_short_slices() {
  thread_local bool taken = false;
  if (!std::exchange(taken, true)) take_slices(kShortSlice);
}

void place_thread(int index, int size) {
  thread_local int placed_index = -1, placed_size = 0;
  thread_local bool bound = false;
  if (index == placed_index && size == placed_size) return;
  if (placed_index < 0) take_slices(kLongestSlice);
  placed_index = index;
  placed_size = size;
  const bool binds = size > 1 && size == CPU_COUNT(&allowed());
  if (!binds && !bound) return;
  const int shifted = static_cast<int>((static_cast<unsigned>(getpid()) + index) % size);
  const cpu_set_t set = binds ? only(shifted, allowed()) : allowed();
  sched_setaffinity(0, sizeof set, &set);
  bound = binds;
}

#else

void note_processors() {}
void take_short_slices() {}
void place_thread(int, int) {}

#endif

}  // namespace ck
