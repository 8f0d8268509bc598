#include "draw.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "exponential.hpp"

namespace ck {
namespace {

// 128 buckets a unit of the scaled logit; the last has all that is 32 units and more below the top.
constexpr int kBuckets = 4096;
constexpr float kBucketsAUnit = 128;
constexpr uint16_t kDropped = kBuckets;

[[noreturn]] void refuse(int row, const std::string& why) {
  throw std::invalid_argument("sampling of row " + std::to_string(row) + ": " + why);
}

constexpr int kBlock = 1024, kLanes = 16;

/// The largest of kBlock logits, and whether all are numbers. By lanes, since a maximum in one
/// variable is not vectorized.
bool largest_of_block(const float* x, float& largest) {
  float lanes[kLanes];
  uint32_t bad[kLanes] = {};
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int j = 0; j < kLanes; j++) {
      lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
      bad[j] |= x[i + j] != x[i + j];
    }
  }
  largest = *std::max_element(lanes, lanes + kLanes);
  return std::all_of(bad, bad + kLanes, [](uint32_t any) { return any == 0; });
}

}  // namespace

Peak peak_of(const float* logits, int vocabulary) {
  float largest = -std::numeric_limits<float>::infinity();
  int first = 0;  // of what holds the largest
  auto take = [&](float value, int at) {
    if (value > largest) {
      largest = value;
      first = at;
    }
  };
  int whole = vocabulary / kBlock * kBlock;
  for (int at = 0; at < whole; at += kBlock) {
    float value;
    if (!largest_of_block(logits + at, value)) return {value, CK_LOGITS_NAN};
    take(value, at);
  }
  for (int i = whole; i < vocabulary; i++) {
    if (std::isnan(logits[i])) return {logits[i], CK_LOGITS_NAN};
    take(logits[i], i);
  }
  if (largest == -std::numeric_limits<float>::infinity()) return {largest, CK_LOGITS_MASKED};
  const float* token = std::find(logits + first, logits + vocabulary, largest);
  return {largest, static_cast<int32_t>(token - logits)};
}

void check_sampling(const ck_sampling& s, int vocabulary, int row) {
  if (!(s.temperature >= 0) || std::isinf(s.temperature)) {
    refuse(row, "the temperature must be 0 or more, not " + std::to_string(s.temperature));
  }
  if (!(s.top_p > 0 && s.top_p <= 1)) {
    refuse(row, "top_p must be above 0 and at most 1, not " + std::to_string(s.top_p));
  }
  if (!(s.min_p >= 0 && s.min_p <= 1)) {
    refuse(row, "min_p must be 0 to 1, not " + std::to_string(s.min_p));
  }
  if (s.top_k < 0) refuse(row, "top_k must be 0 or more, not " + std::to_string(s.top_k));
  if (!(s.uniform >= 0 && s.uniform < 1)) {
    refuse(row, "the draw must lie in [0, 1), not at " + std::to_string(s.uniform));
  }
  if (s.known < -1 || s.known >= vocabulary) {
    refuse(row, "the known token " + std::to_string(s.known) + " is not in the vocabulary");
  }
  if (s.logprobs < -1 || s.logprobs > vocabulary) {
    refuse(row, "logprobs must be -1 to " + std::to_string(vocabulary) + ", not " +
                    std::to_string(s.logprobs));
  }
  if (s.sampler != nullptr && (s.index < 0 || s.known >= 0)) {
    refuse(row, "a sampler draws tokens from index 0 on");
  }
  if (s.given_count < 0 || (s.given_count > 0 && (s.given == nullptr || s.given_count > s.index))) {
    refuse(row, std::to_string(s.given_count) + " given tokens of " + std::to_string(s.index));
  }
  for (int i = 0; i < s.given_count; i++) {
    if (s.given[i] < 0 || s.given[i] >= vocabulary) {
      refuse(row, "the given token " + std::to_string(s.given[i]) + " is not in the vocabulary");
    }
  }
}

int32_t Drawer::draw(const float* logits, int vocabulary, const ck_sampling& sampling) {
  Peak peak = peak_of(logits, vocabulary);
  if (peak.token < 0) return peak.token;
  if (std::isinf(peak.value)) return CK_LOGITS_INFINITE;
  vocabulary_ = vocabulary;
  fill(logits, peak.value, sampling);

  Bound kept = whole();
  if (sampling.top_k > 0) kept = first_tokens(sampling.top_k);
  if (sampling.top_p < 1) kept = first_mass(kept.mass * sampling.top_p, kept);
  // The token at which the cumulative mass comes to exceed the target.
  double target = kept.mass * sampling.uniform;
  Bound drawn = first_mass(std::nextafter(target, std::numeric_limits<double>::infinity()), kept);
  return ordered(drawn.bucket)[drawn.count - 1];
}

void Drawer::fill(const float* logits, float largest, const ck_sampling& sampling) {
  logits_ = logits;
  ordered_bucket_ = -1;
  probabilities_.resize(vocabulary_);
  buckets_.resize(vocabulary_);
  counts_.assign(kBuckets, 0);
  masses_.assign(kBuckets, 0);
  float inverse = 1 / sampling.temperature;
  bool tiny = std::isinf(inverse);  // a temperature below 3e-39: only the largest have any mass
  float least = std::max(sampling.min_p, std::numeric_limits<float>::min());
  float* p = probabilities_.data();
  uint16_t* bucket = buckets_.data();
  for (int i = 0; i < vocabulary_; i++) {
    float below = tiny ? (logits[i] == largest ? 0 : -100.0f) : (logits[i] - largest) * inverse;
    p[i] = exponential(below);
    float at = std::min(-below * kBucketsAUnit, float(kBuckets - 1));
    bucket[i] = p[i] >= least ? static_cast<uint16_t>(static_cast<int32_t>(at)) : kDropped;
  }
  for (int i = 0; i < vocabulary_; i++) {
    if (bucket[i] == kDropped) continue;
    counts_[bucket[i]]++;
    masses_[bucket[i]] += p[i];
  }
}

const std::vector<int32_t>& Drawer::ordered(int bucket) {
  if (bucket == ordered_bucket_) return ordered_;
  ordered_bucket_ = bucket;
  ordered_.clear();
  for (int i = 0; i < vocabulary_; i++) {
    if (buckets_[i] == bucket) ordered_.push_back(i);
  }
  std::sort(ordered_.begin(), ordered_.end(), [&](int32_t a, int32_t b) {
    return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
  });
  return ordered_;
}

Drawer::Bound Drawer::whole() const {
  Bound all{0, 0, 0};
  for (int b = 0; b < kBuckets; b++) {
    if (counts_[b] == 0) continue;
    all = {b, counts_[b], all.mass + masses_[b]};
  }
  return all;
}

/// The first `count` tokens, or all where there are fewer.
Drawer::Bound Drawer::first_tokens(size_t count) {
  double mass = 0;
  for (int b = 0; b < kBuckets; b++) {
    if (counts_[b] >= count) {
      for (size_t i = 0; i < count; i++) mass += probabilities_[ordered(b)[i]];
      return {b, count, mass};
    }
    count -= counts_[b];
    mass += masses_[b];
  }
  return whole();
}

/// The fewest first tokens whose mass is at least `mass`, or all of `within`.
Drawer::Bound Drawer::first_mass(double mass, const Bound& within) {
  double before = 0;
  for (int b = 0; b <= within.bucket; b++) {
    if (counts_[b] == 0) continue;
    if (b < within.bucket && before + masses_[b] < mass) {
      before += masses_[b];
      continue;
    }
    size_t count = b < within.bucket ? counts_[b] : within.count;
    for (size_t i = 0; i < count; i++) {
      before += probabilities_[ordered(b)[i]];
      if (before >= mass) return {b, i + 1, before};
    }
  }
  return within;
}

}  // namespace ck
