#include "sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "../../CMLX/include/cmlx.hpp"

namespace ck {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument("sampler: " + why); }

std::vector<int32_t> checked(const int32_t* ids, int count, int vocabulary,
                             const std::string& name) {
  if (count < 0 || (count > 0 && ids == nullptr)) {
    refuse(std::to_string(count) + " ids in " + name);
  }
  for (int i = 0; i < count; i++) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      refuse("token " + std::to_string(ids[i]) + " in " + name + " is not in the vocabulary of " +
             std::to_string(vocabulary));
    }
  }
  return {ids, ids + count};
}

/// Finite, so that a penalty however large is no mask and no NaN.
float bounded(float logit) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return std::clamp(logit, -kMost, kMost);
}

}  // namespace

Sampler::Sampler(const ck_sampler_params& p)
    : vocabulary_(p.vocabulary),
      repetition_(p.repetition_penalty),
      frequency_(p.frequency_penalty),
      presence_(p.presence_penalty),
      penalizes_(repetition_ != 1 || frequency_ != 0 || presence_ != 0),
      min_tokens_(static_cast<size_t>(std::max(p.min_tokens, 0))),
      ends_(checked(p.end_ids, p.end_count, vocabulary_, "end_ids")),
      allowed_(checked(p.allowed_ids, p.allowed_count, vocabulary_, "allowed_ids")) {
  if (!(repetition_ > 0) || std::isinf(repetition_)) refuse("repetition_penalty must be above 0");
  if (!std::isfinite(frequency_) || !std::isfinite(presence_)) refuse("a penalty is not finite");
  if (p.min_tokens < 0) refuse("min_tokens must be 0 or more");
  std::vector<int32_t> biased = checked(p.bias_ids, p.bias_count, vocabulary_, "bias_ids");
  if (!biased.empty() && p.bias_values == nullptr) refuse("the values of its biases are missing");
  for (size_t i = 0; i < biased.size(); i++) {
    if (!std::isfinite(p.bias_values[i])) refuse("a bias is not finite");
    biases_.emplace_back(biased[i], p.bias_values[i]);
  }
  const int32_t* word = p.bad_words;
  for (int i = 0; i < p.bad_word_count; i++) {
    int length = p.bad_word_lengths[i];
    if (length < 1) refuse("a bad word has no tokens");
    bad_words_.push_back(checked(word, length, vocabulary_, "bad_words"));
    word += length;
  }
  std::vector<int32_t> prompt = checked(p.prompt, p.prompt_count, vocabulary_, "prompt");
  if (repetition_ != 1) {
    std::sort(prompt.begin(), prompt.end());
    prompt.erase(std::unique(prompt.begin(), prompt.end()), prompt.end());
    for (int32_t token : prompt) seen_.push_back({token, 0});
    prompt_seen_ = seen_.size();
  }
}

Sampler::Seen& Sampler::seen(int32_t token) {
  auto found = std::find_if(seen_.begin(), seen_.end(),
                            [token](const Seen& seen) { return seen.token == token; });
  if (found != seen_.end()) return *found;
  seen_.push_back({token, 0});
  return seen_.back();
}

void Sampler::append(int32_t token) {
  output_.push_back(token);
  if (penalizes_) seen(token).count++;
}

void Sampler::rewind(size_t count) {
  if (count > output_.size()) {
    throw std::out_of_range("sampler: token " + std::to_string(count) +
                            " of a sequence that has drawn " + std::to_string(output_.size()));
  }
  for (; output_.size() > count; output_.pop_back()) {
    if (penalizes_) seen(output_.back()).count--;
  }
}

void Sampler::adjust(const float* logits, float* adjusted) const {
  if (allowed_.empty()) {
    std::copy_n(logits, vocabulary_, adjusted);
  } else {
    std::fill_n(adjusted, vocabulary_, kMasked);
    for (int32_t token : allowed_) adjusted[token] = logits[token];
  }
  mask(adjusted);
  for (auto [token, bias] : biases_) adjusted[token] += bias;
  if (penalizes_) penalize(adjusted);
}

void Sampler::mask(float* logits) const {
  for (const std::vector<int32_t>& word : bad_words_) {
    if (completes(word)) logits[word.back()] = kMasked;
  }
  if (output_.size() >= min_tokens_) return;
  for (int32_t token : ends_) logits[token] = kMasked;
}

/// Whether the output ends in all of the bad word but its last token.
bool Sampler::completes(const std::vector<int32_t>& word) const {
  size_t before = word.size() - 1;
  return before <= output_.size() &&
         std::equal(word.begin(), word.end() - 1, output_.end() - ptrdiff_t(before));
}

void Sampler::penalize(float* logits) const {
  for (size_t i = 0; i < seen_.size(); i++) {
    auto [token, count] = seen_[i];
    float x = logits[token];
    if ((count == 0 && i >= prompt_seen_) || x == kMasked) continue;
    x = x > 0 ? x / repetition_ : x * repetition_;
    x -= frequency_ * static_cast<float>(count);
    if (count > 0) x -= presence_;
    logits[token] = bounded(x);
  }
}

}  // namespace ck

extern "C" {

int ck_sampler_create(const ck_sampler_params* params, ck_sampler** out, cmlx_error* error) {
  return cmlx::guarded(error,
                       [&] { *out = new ck_sampler{std::make_shared<ck::Sampler>(*params)}; });
}

void ck_sampler_free(ck_sampler* sampler) { delete sampler; }

}  // extern "C"
