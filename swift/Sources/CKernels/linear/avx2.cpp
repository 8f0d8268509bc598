// linear for AVX2. vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, and
// saturates: there is room for 4 of its sums of codes of up to 5 bits (8 * 31 * 127 < 2^15), for 2
// of 6 bits, and for one of bytes as a magnitude and a sign (2 * 128 * 127 < 2^15).
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

/// The pairs of products of codes and four columns.
inline __m256i pairs(__m256i codes, const int8_t* x) {
  return _mm256_maddubs_epi16(codes, four_columns(x));
}

inline __m256i sums_of_pairs(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/// The same of signed codes, -128 to 127.
inline __m256i signed_dots(__m256i codes, const int8_t* x) {
  const __m256i signs_moved = _mm256_sign_epi8(four_columns(x), codes);
  return sums_of_pairs(_mm256_maddubs_epi16(_mm256_abs_epi8(codes), signs_moved));
}

template <Layout layout>
__m256i half_dots(const __m256i (&codes)[4], const int8_t* x, const ActivationGroup& group,
                  int half) {
  if constexpr (code_bits(layout) == 8) {
    const __m256i low = _mm256_add_epi32(signed_dots(codes[0], x), signed_dots(codes[1], x + 4));
    const __m256i high =
        _mm256_add_epi32(signed_dots(codes[2], x + 8), signed_dots(codes[3], x + 12));
    const __m256i dots = _mm256_add_epi32(low, high);
    if constexpr (layout == Layout::s8) return dots;
    return _mm256_sub_epi32(dots, _mm256_set1_epi32(group.offset8[half]));
  }
  __m256i low = _mm256_add_epi16(pairs(codes[0], x), pairs(codes[1], x + 4));
  __m256i high = _mm256_add_epi16(pairs(codes[2], x + 8), pairs(codes[3], x + 12));
  const __m256i dots = code_bits(layout) == 6
                           ? _mm256_add_epi32(sums_of_pairs(low), sums_of_pairs(high))
                           : sums_of_pairs(_mm256_add_epi16(low, high));
  return less_zero_point<layout>(dots, group, half);
}

/// Bytes as numbers from -128 on.
template <Layout layout>
__m256i load_codes(const uint8_t* values, int quad) {
  const __m256i codes = load_quad<layout>(values, quad);
  return code_bits(layout) == 8 ? _mm256_xor_si256(codes, _mm256_set1_epi8(-128)) : codes;
}

}  // namespace
}  // namespace ck

#include "avx2_body.hpp"

namespace ck {
extern const LinearKernels* const kLinearAvx2;
const LinearKernels* const kLinearAvx2 = &kKernels;
}  // namespace ck

#pragma clang attribute pop

#endif
