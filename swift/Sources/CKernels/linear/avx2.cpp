// linear for AVX2. vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, and
// saturates: there is room for 4 of its sums of codes of up to 5 bits (8 * 31 * 127 < 2^15), for 2
// of 6 bits, and for one of bytes as a magnitude and a sign (2 * 128 * 127 < 2^15).
#if defined(__x86_64__)

#include <immintrin.h>

#include "avx2_group.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

/// Quads of columns that add_products takes.
template <Layout layout>
constexpr int kQuadsAStep = code_bits(layout) == 6 ? 2 : 1;

/// Quads; or one's bytes from -128 on, and their magnitudes.
template <Layout layout>
struct Codes {
  __m256i v[code_bits(layout) == 8 ? 2 : kQuadsAStep<layout>];
};
template <Layout layout>
struct Columns {
  __m256i v[kQuadsAStep<layout>];
};

template <Layout layout>
Codes<layout> load_codes(const uint8_t* values, int quad) {
  Codes<layout> codes;
  codes.v[0] = load_quad<layout>(values, quad);
  if constexpr (code_bits(layout) == 6) codes.v[1] = load_quad<layout>(values, quad + 1);
  if constexpr (code_bits(layout) == 8) {
    codes.v[0] = _mm256_xor_si256(codes.v[0], _mm256_set1_epi8(-128));
    codes.v[1] = _mm256_abs_epi8(codes.v[0]);
  }
  return codes;
}

template <Layout layout>
Columns<layout> load_columns(const int8_t* x, int quad) {
  Columns<layout> columns;
  for (int i = 0; i < kQuadsAStep<layout>; i++) columns.v[i] = four_columns(x + 4 * (quad + i));
  return columns;
}

inline __m256i sums_of_pairs(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/// sum = or += codes times x: sums of pairs in 16 bits, or sums in 32 bits where four do not fit.
template <Layout layout>
void add_products(const Codes<layout>& codes, const Columns<layout>& x, bool first, __m256i& sum) {
  if constexpr (code_bits(layout) == 8) {
    const __m256i signs_moved = _mm256_sign_epi8(x.v[0], codes.v[0]);
    const __m256i dots = sums_of_pairs(_mm256_maddubs_epi16(codes.v[1], signs_moved));
    sum = first ? dots : _mm256_add_epi32(sum, dots);
  } else if constexpr (code_bits(layout) == 6) {
    const __m256i dots = sums_of_pairs(_mm256_add_epi16(_mm256_maddubs_epi16(codes.v[0], x.v[0]),
                                                        _mm256_maddubs_epi16(codes.v[1], x.v[1])));
    sum = first ? dots : _mm256_add_epi32(sum, dots);
  } else {
    const __m256i pairs = _mm256_maddubs_epi16(codes.v[0], x.v[0]);
    sum = first ? pairs : _mm256_add_epi16(sum, pairs);
  }
}

/// Sums of pairs times the half's multiple, in 32 bits.
inline __m256i times_multiple(__m256i sum, const Avx2Group& group, int half) {
  int32_t twice;
  __builtin_memcpy(&twice, group.multiple[half], sizeof twice);
  return _mm256_madd_epi16(sum, _mm256_set1_epi32(twice));
}

template <Layout layout>
__m256i whole_dots(__m256i sum, const Avx2Group& group, int half) {
  constexpr int kZero = zero_point(layout) - (code_bits(layout) == 8 ? 128 : 0);
  return less_zero_point<kZero>(code_bits(layout) < 6 ? sums_of_pairs(sum) : sum, group, half);
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
