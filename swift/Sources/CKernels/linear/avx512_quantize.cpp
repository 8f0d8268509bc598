// Rows to int8 for AVX-512: a scale per 16 columns, as a whole multiple of the row's unit.
#if defined(__x86_64__)

#include <immintrin.h>

#include "avx512_group.hpp"
#include "units.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

namespace ck {
namespace {

using Group = Avx512Group;

/// The lanes of four registers, brought down to one lane each: combine(v[0] lanes), ...
template <__m128i (*combine)(__m128i, __m128i), __m256i (*combine_halves)(__m256i, __m256i)>
__m128i reduce_four(const __m512i (&v)[4]) {
  __m128i quarter[4];
  for (int i = 0; i < 4; i++) {
    __m256i half = combine_halves(_mm512_castsi512_si256(v[i]), _mm512_extracti64x4_epi64(v[i], 1));
    quarter[i] = combine(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  __m128i ab = combine(_mm_unpacklo_epi32(quarter[0], quarter[1]),
                       _mm_unpackhi_epi32(quarter[0], quarter[1]));
  __m128i cd = combine(_mm_unpacklo_epi32(quarter[2], quarter[3]),
                       _mm_unpackhi_epi32(quarter[2], quarter[3]));
  return combine(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

__m128i larger(__m128i a, __m128i b) { return _mm_max_epi32(a, b); }
__m256i larger_half(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
__m128i plus(__m128i a, __m128i b) { return _mm_add_epi32(a, b); }
__m256i plus_half(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }

/// Two groups, or one with zeros: so what is done once a half is done for four at a time.
struct FourHalves {
  __m512 v[4];

  FourHalves(const float* x, bool both) {
    for (int i = 0; i < 4; i++) {
      v[i] = both || i < 2 ? _mm512_loadu_ps(x + 16 * i) : _mm512_setzero_ps();
    }
  }
  /// The largest magnitude of each half. As integers, magnitudes order like floats, with infinity
  /// and then NaN above all.
  __m128i largest() const {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i bits[4];
    for (int i = 0; i < 4; i++) bits[i] = _mm512_and_si512(_mm512_castps_si512(v[i]), magnitude);
    return reduce_four<larger, larger_half>(bits);
  }
};

/// Two groups, or the first alone.
void quantize_groups(const FourHalves& halves, bool both, __m128 largest, const Units& units,
                     int8_t* values, Group* groups) {
  const __m128 exact = _mm_mul_ps(largest, _mm_set1_ps(units.multiples));
  const __m128 scale = _mm_min_ps(_mm_ceil_ps(exact), _mm_set1_ps(kMostMultiple));
  const __mmask8 some = _mm_cmp_ps_mask(scale, _mm_setzero_ps(), _CMP_GT_OQ);
  alignas(16) float inverse[4], scales[4];
  _mm_store_ps(inverse, _mm_maskz_div_ps(some, _mm_set1_ps(units.inverse), scale));
  _mm_store_ps(scales, scale);
  __m512i q[4];
  for (int i = 0; i < 4; i++) {
    q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(halves.v[i], _mm512_set1_ps(inverse[i])));
    if (both || i < 2) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(values + 16 * i), _mm512_cvtsepi32_epi8(q[i]));
    }
  }
  alignas(16) int32_t half_sums[4], sums[4];
  const __m128i half_sum = reduce_four<plus, plus_half>(q);
  const __m128i sum = _mm_mullo_epi32(half_sum, _mm_cvtps_epi32(scale));
  _mm_store_si128(reinterpret_cast<__m128i*>(half_sums), half_sum);
  _mm_store_si128(reinterpret_cast<__m128i*>(sums), sum);
  for (int g = 0; g < (both ? 2 : 1); g++) {
    const int32_t whole = sums[2 * g] + sums[2 * g + 1];
    const float first = scales[2 * g], second = scales[2 * g + 1];
    groups[g] = {
        {static_cast<int16_t>(first), static_cast<int16_t>(second)},
        -8 * whole,
        {first, second},
        static_cast<float>(whole),
        -128 * static_cast<float>(whole),
        units.unit,
        {static_cast<int16_t>(half_sums[2 * g]), static_cast<int16_t>(half_sums[2 * g + 1])}};
  }
}

}  // namespace

void quantize_avx512(const float* x, int columns, int8_t* values, ActivationGroup* to) {
  const int count = columns / kGroupColumns;
  auto* groups = reinterpret_cast<Group*>(to);
  __m128i largest = _mm_setzero_si128();
  for (int g = 0; g < count; g += 2) {
    const bool both = g + 1 < count;
    const __m128i of_halves = FourHalves(x + g * kGroupColumns, both).largest();
    largest = larger(largest, of_halves);
    // Kept where the scales will be.
    const __m128 magnitudes = _mm_castsi128_ps(of_halves);
    _mm_storel_pi(reinterpret_cast<__m64*>(groups[g].scale), magnitudes);
    if (both) _mm_storeh_pi(reinterpret_cast<__m64*>(groups[g + 1].scale), magnitudes);
  }
  largest = larger(largest, _mm_shuffle_epi32(largest, 0x4e));
  largest = larger(largest, _mm_shuffle_epi32(largest, 0xb1));
  const Units units = units_of(_mm_cvtsi128_si32(largest));
  if (units.inverse == 0) {
    __builtin_memset(values, 0, columns);
    for (int g = 0; g < count; g++) groups[g] = {{0, 0}, 0, {0, 0}, 0, 0, units.unit, {0, 0}};
    return;
  }
  for (int g = 0; g < count; g += 2) {
    const bool both = g + 1 < count;
    __m128 magnitudes = _mm_setzero_ps();
    magnitudes = _mm_loadl_pi(magnitudes, reinterpret_cast<const __m64*>(groups[g].scale));
    if (both) {
      magnitudes = _mm_loadh_pi(magnitudes, reinterpret_cast<const __m64*>(groups[g + 1].scale));
    }
    quantize_groups(FourHalves(x + g * kGroupColumns, both), both, magnitudes, units,
                    values + g * kGroupColumns, groups + g);
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
