#include "arena.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <new>

#include "../machine/memory.hpp"

namespace ck {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMappingBytes = size_t{64} << 20;  // address space; pages come when written
constexpr size_t kAlignment = 64;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

class Mapping {
 public:
  explicit Mapping(size_t bytes) : reserved_(bytes + kHugePage) {
    base_ = mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    auto address = round_up(reinterpret_cast<uintptr_t>(base_), kHugePage);
    start_ = reinterpret_cast<uint8_t*>(address);
    capacity_ = bytes;
#if defined(MADV_HUGEPAGE)
    madvise(start_, capacity_, MADV_HUGEPAGE);
#endif
  }
  ~Mapping() { munmap(base_, reserved_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /// The next `bytes`, or null when they do not fit.
  uint8_t* take(size_t bytes) {
    if (bytes > capacity_ - used_) return nullptr;
    uint8_t* memory = start_ + used_;
    used_ += bytes;
    return memory;
  }

  /// Gives back the end of the last huge page, which came as a whole.
  void trim() { discard_pages(start_ + used_, capacity_ - used_); }

 private:
  size_t reserved_, capacity_ = 0, used_ = 0;
  void* base_;
  uint8_t* start_;
};

namespace {

struct Arena {
  std::mutex mutex;
  std::weak_ptr<Mapping> current;
};

Arena& arena() {
  // Never destroyed: a matrix may outlive the statics of this library.
  static Arena& arena = *new Arena;
  return arena;
}

}  // namespace

void trim_weights() {
  std::lock_guard lock(arena().mutex);
  if (auto mapping = arena().current.lock()) mapping->trim();
}

Allocation allocate_weights(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  size_t rounded = round_up(std::max<size_t>(bytes, 1), kAlignment);
  std::lock_guard lock(arena().mutex);
  std::shared_ptr<Mapping> mapping = arena().current.lock();
  uint8_t* data = mapping ? mapping->take(rounded) : nullptr;
  if (data == nullptr) {
    if (mapping) mapping->trim();
    mapping = std::make_shared<Mapping>(std::max(kMappingBytes, round_up(rounded, kHugePage)));
    data = mapping->take(rounded);
    arena().current = mapping;
  }
  return {mapping, data, rounded};
}

}  // namespace ck
