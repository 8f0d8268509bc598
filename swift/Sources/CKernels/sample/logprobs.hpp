// Logarithms of the probabilities of a row of logits: of one token and of the most likely ones.
#ifndef CK_LOGPROBS_HPP
#define CK_LOGPROBS_HPP

#include "../include/ckernels.h"

namespace ck {

/// Writes 1 + `count` entries: of `token`, then of the most likely tokens, the lower id of equals
/// first. Sums have one order. Returns `token`; or, with entries of zeros, CK_LOGITS_* where the
/// logits have no logprobs or `token` is that already.
int32_t write_logprobs(const float* logits, int vocabulary, int32_t token, int count,
                       ck_logprob* out);

}  // namespace ck

#endif  // CK_LOGPROBS_HPP
