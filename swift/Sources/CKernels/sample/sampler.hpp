// What one sequence's sampling parameters make of its logits, given what it has drawn.
#ifndef CK_SAMPLER_HPP
#define CK_SAMPLER_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../include/ckernels.h"

namespace ck {

class Sampler {
 public:
  /// Throws std::invalid_argument for ids outside the vocabulary and values out of range.
  explicit Sampler(const ck_sampler_params& params);

  int vocabulary() const { return vocabulary_; }
  /// Forgets all tokens but the first `count`. Throws std::out_of_range if there are fewer.
  void rewind(size_t count);
  /// The logits [vocabulary] of the next token.
  void adjust(const float* logits, float* adjusted) const;
  void append(int32_t token);

 private:
  /// A token of the prompt or the output.
  struct Seen {
    int32_t token;
    uint32_t count;  // in the output
  };

  void mask(float* logits) const;
  void penalize(float* logits) const;
  bool completes(const std::vector<int32_t>& bad_word) const;
  Seen& seen(int32_t token);

  int vocabulary_;
  float repetition_, frequency_, presence_;
  bool penalizes_;
  size_t min_tokens_;
  std::vector<int32_t> ends_, allowed_;
  std::vector<std::pair<int32_t, float>> biases_;
  std::vector<std::vector<int32_t>> bad_words_;
  std::vector<int32_t> output_;
  // In order of appearance, the prompt's first. Searched from the front: applying the penalties
  // walks all of it anyway.
  std::vector<Seen> seen_;
  size_t prompt_seen_ = 0;
};

}  // namespace ck

struct ck_sampler {
  std::shared_ptr<ck::Sampler> state;
};

#endif  // CK_SAMPLER_HPP
