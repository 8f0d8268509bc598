#include "logprobs.hpp"

#include <algorithm>
#include <cmath>

#include "draw.hpp"
#include "exponential.hpp"

namespace ck {
namespace {

constexpr int kBlock = 1024, kLanes = 16;

/// log(sum(exp(logits - largest))). Blocks are summed by lanes in float32, and added in float64.
double log_sum(const float* logits, int vocabulary, float largest) {
  double sum = 0;
  for (int at = 0; at < vocabulary; at += kBlock) {
    float lanes[kLanes] = {};
    int count = std::min(kBlock, vocabulary - at), whole = count / kLanes * kLanes;
    for (int i = 0; i < whole; i += kLanes) {
      for (int j = 0; j < kLanes; j++) lanes[j] += exponential(logits[at + i + j] - largest);
    }
    for (float lane : lanes) sum += lane;
    for (int i = whole; i < count; i++) sum += exponential(logits[at + i] - largest);
  }
  return std::log(sum);
}

/// How many logits are as large as `logit` at least.
int32_t rank_of(const float* logits, int vocabulary, float logit) {
  int32_t rank = 0;
  for (int i = 0; i < vocabulary; i++) rank += logits[i] >= logit;
  return rank;
}

/// The tokens of the `count` largest logits into `out`, whose fields but `token` are left alone.
void find_largest(const float* logits, int vocabulary, int count, ck_logprob* out) {
  int found = 0;
  float least = 0;
  for (int i = 0; i < vocabulary; i++) {
    float logit = logits[i];
    if (found == count && !(logit > least)) continue;
    int at = found < count ? found++ : count - 1;
    for (; at > 0 && logits[out[at - 1].token] < logit; at--) out[at].token = out[at - 1].token;
    out[at].token = i;
    least = logits[out[found - 1].token];
  }
}

}  // namespace

int32_t write_logprobs(const float* logits, int vocabulary, int32_t token, int count,
                       ck_logprob* out) {
  Peak peak = peak_of(logits, vocabulary);
  if (token >= 0 && peak.token < 0) token = peak.token;
  if (token >= 0 && std::isinf(peak.value)) token = CK_LOGITS_INFINITE;
  if (token < 0) {
    std::fill_n(out, 1 + count, ck_logprob{});
    return token;
  }
  double sum = log_sum(logits, vocabulary, peak.value);
  auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[id] - double(peak.value) - sum);
  };
  out[0] = {token, logprob(token), rank_of(logits, vocabulary, logits[token])};
  if (count > 0) find_largest(logits, vocabulary, count, out + 1);
  for (int i = 1; i <= count; i++) {
    out[i].logprob = logprob(out[i].token);
    out[i].rank = i;
  }
  return token;
}

}  // namespace ck
