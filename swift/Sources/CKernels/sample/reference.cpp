#include "../reference/reference.hpp"

#include <stdexcept>

namespace {

namespace mx = mlx::core;

/// One draw from a row of logits [vocabulary], by inversion of the cumulative probabilities of the
/// kept tokens, most likely first. Nucleus sampling: Holtzman et al., 2020 (arXiv:1904.09751);
/// min-p: Nguyen et al., 2024 (arXiv:2407.01082).
mx::array drawn(const mx::array& logits, const ck_sampling& row, mx::Stream s) {
  if (row.temperature == 0) return mx::argmax(logits, 0, false, s);
  mx::array order = mx::argsort(mx::negative(logits, s), 0, s);
  mx::array sorted = mx::take(logits, order, 0, s);
  mx::array scaled = mx::divide(sorted, mx::array(row.temperature), s);
  mx::array probability = mx::softmax(scaled, 0, true, s);
  int vocabulary = logits.shape(0);
  mx::array zero(0.0f);
  if (row.min_p > 0) {
    mx::array largest = mx::slice(probability, {0}, {1}, s);
    mx::array bound = mx::multiply(largest, mx::array(row.min_p), s);
    probability = mx::where(mx::greater_equal(probability, bound, s), probability, zero, s);
  }
  if (row.top_k > 0 && row.top_k < vocabulary) {
    mx::array rank = mx::arange(0, vocabulary, s);
    probability = mx::where(mx::less(rank, mx::array(row.top_k), s), probability, zero, s);
  }
  if (row.top_p < 1) {
    mx::array total = mx::sum(probability, false, s);
    mx::array before = mx::cumsum(probability, 0, false, false, s);
    mx::array bound = mx::multiply(total, mx::array(row.top_p), s);
    probability = mx::where(mx::less(before, bound, s), probability, zero, s);
  }
  mx::array cumulative = mx::cumsum(probability, 0, false, true, s);
  mx::array target = mx::multiply(mx::sum(probability, false, s), mx::array(row.uniform), s);
  // The number of tokens wholly below the target; never a dropped one, should rounding reach the
  // end.
  mx::array passed = mx::sum(mx::less_equal(cumulative, target, s), false, s);
  mx::array kept = mx::sum(mx::greater(probability, zero, s), false, s);
  mx::array index = mx::minimum(mx::astype(passed, mx::int32, s),
                                mx::subtract(mx::astype(kept, mx::int32, s), mx::array(1), s), s);
  return mx::take(order, index, s);
}

}  // namespace

extern "C" int ck_ref_sample(cmlx_stream stream, cmlx_array logits, const ck_sampling* rows,
                             int count, cmlx_array* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    std::vector<mx::array> tokens;
    for (int i = 0; i < count; i++) {
      if (rows[i].sampler != nullptr || rows[i].mask != nullptr || rows[i].known >= 0 ||
          rows[i].logprobs >= 0) {
        throw std::invalid_argument(
            "the reference of sampling has no samplers, masks and logprobs");
      }
      mx::array row = mx::take(logits->value, i, 0, s);
      tokens.push_back(mx::astype(drawn(row, rows[i], s), mx::int32, s));
    }
    *out = cmlx::boxed(mx::stack(tokens, 0, s), logits->outcome);
  });
}
