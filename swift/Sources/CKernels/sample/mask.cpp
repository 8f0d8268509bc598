#include "mask.hpp"

#include <algorithm>
#include <limits>

namespace ck {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

}  // namespace

// Most words of most masks are all zeros or all ones.
void apply_mask(const uint32_t* mask, const float* logits, int vocabulary, float* masked) {
  for (int first = 0; first < vocabulary; first += 32) {
    uint32_t word = mask[first / 32];
    int count = std::min(32, vocabulary - first);
    if (word == 0) {
      std::fill_n(masked + first, count, kMasked);
    } else if (word == ~uint32_t(0)) {
      std::copy_n(logits + first, count, masked + first);
    } else {
      for (int i = 0; i < count; i++) {
        masked[first + i] = (word >> i & 1) != 0 ? logits[first + i] : kMasked;
      }
    }
  }
}

}  // namespace ck
