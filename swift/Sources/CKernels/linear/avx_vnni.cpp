// linear for AVX2 with the VEX-encoded vpdpbusd: four products in 32 bits, no saturation.
#if defined(__x86_64__)

#include <immintrin.h>

#include "avx2_group.hpp"

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

template <Layout layout>
constexpr int kQuadsAStep = 1;

template <Layout layout>
using Codes = __m256i;
template <Layout layout>
using Columns = __m256i;

template <Layout layout>
__m256i load_codes(const uint8_t* values, int quad) {
  return load_quad<layout>(values, quad);
}

template <Layout layout>
__m256i load_columns(const int8_t* x, int quad) {
  return four_columns(x + 4 * quad);
}

template <Layout layout>
void add_products(__m256i codes, __m256i x, bool first, __m256i& sum) {
  sum = _mm256_dpbusd_avx_epi32(first ? _mm256_setzero_si256() : sum, codes, x);
}

/// Sums that fit 16 bits times the half's multiple.
inline __m256i times_multiple(__m256i sum, const Avx2Group& group, int half) {
  return _mm256_madd_epi16(sum, _mm256_set1_epi32(group.multiple[half][0]));
}

template <Layout layout>
__m256i whole_dots(__m256i sum, const Avx2Group& group, int half) {
  return less_zero_point<zero_point(layout)>(sum, group, half);
}

}  // namespace
}  // namespace ck

#include "avx2_body.hpp"

namespace ck {
extern const LinearKernels* const kLinearAvxVnni;
const LinearKernels* const kLinearAvxVnni = &kKernels;
}  // namespace ck

#pragma clang attribute pop

#endif
