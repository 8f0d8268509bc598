#include "rotary.hpp"

#include <algorithm>
#include <cmath>

namespace ck {
namespace {

constexpr int kRowsAPiece = 16;

}  // namespace

Rotary::Rotary(const float* inverse_frequencies, int head_dim, int max_rows)
    : frequencies_(inverse_frequencies, inverse_frequencies + head_dim / 2),
      table_(size_t(max_rows) * head_dim),
      positions_(max_rows, -1) {}

bool Rotary::has(const float* inverse_frequencies, int head_dim) const {
  return int(frequencies_.size()) == head_dim / 2 &&
         std::equal(frequencies_.begin(), frequencies_.end(), inverse_frequencies);
}

void Rotary::run(Worker& worker, const Step& step) {
  int half = frequencies_.size();
  worker.for_each((step.rows + kRowsAPiece - 1) / kRowsAPiece, [&](int piece) {
    int end = std::min(step.rows, (piece + 1) * kRowsAPiece);
    for (int r = piece * kRowsAPiece; r < end; r++) {
      if (positions_[r] == step.positions[r]) continue;
      positions_[r] = step.positions[r];
      float* cosines = table_.data() + size_t(r) * 2 * half;
      for (int i = 0; i < half; i++) {
        double angle = double(step.positions[r]) * frequencies_[i];
        cosines[i] = static_cast<float>(std::cos(angle));
        cosines[half + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
}

}  // namespace ck
