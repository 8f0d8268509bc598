// Memory that nodes use for the length of a run.
#ifndef CK_SCRATCH_HPP
#define CK_SCRATCH_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "../machine/memory.hpp"

namespace ck {

/// 64-byte aligned memory that grows and never shrinks; what it held is lost when it grows. A plan
/// has one for all its nodes, since they run one after another: nodes reserve when they are made
/// and read `data()` when they run.
class Scratch {
 public:
  static constexpr size_t kAlignment = 64;

  /// Throws std::bad_alloc.
  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, rounded));
    if (memory == nullptr) throw std::bad_alloc();
    memory_.reset(memory);
    bytes_ = rounded;
  }
  /// Gives the memory back to the system until it is written again; what it held is lost.
  void rest() { discard_pages(data(), bytes_); }
  uint8_t* data() const { return memory_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t bytes_ = 0;
};

}  // namespace ck

#endif  // CK_SCRATCH_HPP
