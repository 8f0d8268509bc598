// linear for AVX2. vpmaddubsw adds two products in 16 bits and saturates. 4 pairs of up to 5
// bits fit (8 * 31 * 127 < 2^15), and 2 of 6 bits; bytes are two nibbles.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

__m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
__m256i high_nibbles(__m256i v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }

/// pairs[r] += codes * columns 4 quad ... 4 quad + 3 of row r
template <int rows>
void add_pairs(__m256i codes, const int8_t* const (&x)[rows], int quad, __m256i (&pairs)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    __m256i four = _mm256_set1_epi32(reinterpret_cast<const int32_t*>(x[r])[quad]);
    pairs[r] = _mm256_add_epi16(pairs[r], _mm256_maddubs_epi16(codes, four));
  }
}

/// dots[r] += factor * the two pairs of each lane
template <int rows>
void add_lanes(const __m256i (&pairs)[rows], int16_t factor, __m256i (&dots)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    dots[r] = _mm256_add_epi32(dots[r], _mm256_madd_epi16(pairs[r], _mm256_set1_epi16(factor)));
  }
}

template <Layout layout, int half, int rows>
void add_dots(const uint8_t* values, const int8_t* const (&x)[rows], __m256i (&dots)[rows]) {
  __m256i pairs[rows] = {};
  if constexpr (code_bits(layout) <= 6) {
#pragma clang loop unroll(full)
    for (int j = 4 * half; j < 4 * half + 4; j++) {
      add_pairs<rows>(load_quad<layout>(values, j), x, j, pairs);
      if (code_bits(layout) != 6 || j % 2 == 0) continue;
      add_lanes<rows>(pairs, 1, dots);
      for (int r = 0; r < rows; r++) pairs[r] = _mm256_setzero_si256();
    }
    if (code_bits(layout) != 6) add_lanes<rows>(pairs, 1, dots);
  } else {
#pragma clang loop unroll(full)
    for (int j = 4 * half; j < 4 * half + 4; j++) {
      add_pairs<rows>(low_nibbles(load_vector(values + 64 * j)), x, j, pairs);
    }
    add_lanes<rows>(pairs, 1, dots);
    for (int r = 0; r < rows; r++) pairs[r] = _mm256_setzero_si256();
#pragma clang loop unroll(full)
    for (int j = 4 * half; j < 4 * half + 4; j++) {
      add_pairs<rows>(high_nibbles(load_vector(values + 64 * j)), x, j, pairs);
    }
    add_lanes<rows>(pairs, 16, dots);
  }
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
