// One draw from a row of logits.
//
// Kept tokens are ordered most likely first, the lower id of equals first, and the draw inverts
// their cumulative probabilities at `uniform`. Nothing is sorted as a whole: tokens fall into
// buckets by logit, whose counts and masses tell in which bucket a bound lies (the k-th token, the
// nucleus's mass, the draw); only that bucket's tokens are put in order.
// Nucleus sampling: Holtzman et al., 2020 (arXiv:1904.09751); min-p: Nguyen et al., 2024
// (arXiv:2407.01082).
#ifndef CK_DRAW_HPP
#define CK_DRAW_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../include/ckernels.h"

namespace ck {

/// Throws std::invalid_argument, naming the row, for parameters out of range.
void check_sampling(const ck_sampling& sampling, int vocabulary, int row);

/// The largest of a row's logits, and the first that is equal to it. In that one's place
/// CK_LOGITS_NAN, or CK_LOGITS_MASKED where none is above minus infinity.
struct Peak {
  float value;
  int32_t token;
};

Peak peak_of(const float* logits, int vocabulary);

class Drawer {
 public:
  /// A token, or what peak_of has in its place, or CK_LOGITS_INFINITE.
  int32_t draw(const float* logits, int vocabulary, const ck_sampling& sampling);

 private:
  /// A place in the order of tokens: all tokens of the buckets before `bucket`, and the first
  /// `count` of its own.
  struct Bound {
    int bucket;
    size_t count;
    double mass;  // of all of them
  };

  void fill(const float* logits, float largest, const ck_sampling& sampling);
  const std::vector<int32_t>& ordered(int bucket);
  Bound whole() const;
  Bound first_tokens(size_t count);
  Bound first_mass(double mass, const Bound& within);

  const float* logits_ = nullptr;
  int vocabulary_ = 0;
  std::vector<float> probabilities_;  // relative to the most likely token's
  std::vector<uint16_t> buckets_;
  std::vector<uint32_t> counts_;
  std::vector<double> masses_;
  int ordered_bucket_ = -1;
  std::vector<int32_t> ordered_;
};

}  // namespace ck

#endif  // CK_DRAW_HPP
