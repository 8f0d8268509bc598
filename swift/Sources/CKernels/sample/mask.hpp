// Masks: a bit for each token of the vocabulary, of those that may be drawn.
#ifndef CK_MASK_HPP
#define CK_MASK_HPP

#include <cstddef>
#include <cstdint>

namespace ck {

inline size_t mask_words(int vocabulary) { return (size_t(vocabulary) + 31) / 32; }

/// The logits of tokens whose bit is set; minus infinity for the others.
void apply_mask(const uint32_t* mask, const float* logits, int vocabulary, float* masked);

}  // namespace ck

#endif  // CK_MASK_HPP
