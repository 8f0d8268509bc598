#include "outputs.hpp"

#include <algorithm>
#include <utility>

namespace ck {
namespace {

namespace mx = mlx::core;

constexpr size_t kKept = 2;  // of a step that runs, and of one that is queued behind it

size_t size(const mx::allocator::Buffer& buffer) { return mx::allocator::allocator().size(buffer); }

}  // namespace

Outputs::~Outputs() { rest(); }

void Outputs::allocate(mx::array& array) {
  mx::allocator::Buffer buffer(nullptr);
  {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(free_.begin(), free_.end(),
                              [&](const auto& one) { return size(one) >= array.nbytes(); });
    if (found != free_.end()) {
      buffer = *found;
      free_.erase(found);
    }
  }
  if (buffer.ptr() == nullptr) buffer = mx::allocator::allocator().malloc(array.nbytes());
  array.set_data(
      {buffer, [self = shared_from_this()](mx::allocator::Buffer b) { self->take_back(b); }});
}

/// The largest are kept, the smallest first.
void Outputs::take_back(mx::allocator::Buffer buffer) {
  std::lock_guard lock(mutex_);
  auto larger = std::find_if(free_.begin(), free_.end(),
                             [&](const auto& one) { return size(one) >= size(buffer); });
  free_.insert(larger, buffer);
  if (free_.size() <= kKept) return;
  mx::allocator::allocator().free(free_.front());
  free_.erase(free_.begin());
}

void Outputs::rest() {
  std::lock_guard lock(mutex_);
  for (mx::allocator::Buffer buffer : std::exchange(free_, {}))
    mx::allocator::allocator().free(buffer);
}

}  // namespace ck
