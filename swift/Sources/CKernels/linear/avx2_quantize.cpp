// Rows to int8 for AVX2: a scale per 16 columns, as a whole multiple of the row's unit.
#if defined(__x86_64__)

#include <immintrin.h>

#include "avx2_group.hpp"
#include "units.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

namespace ck {
namespace {

__m256i larger(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
__m256i plus(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }

/// The lanes of two registers, brought down to one lane each: combine(a's lanes), combine(b's).
template <__m256i (*combine)(__m256i, __m256i)>
__m128i reduce_two(__m256i a, __m256i b) {
  __m256i ab = combine(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  ab = combine(ab, _mm256_permute4x64_epi64(ab, 0x4e));
  return _mm256_castsi256_si128(combine(ab, _mm256_shuffle_epi32(ab, 0x4e)));
}

/// The largest magnitude of each half of a group, as bits. As integers, magnitudes order like
/// floats, with infinity and then NaN above all.
__m128i largest_of_halves(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i bits[4];
  for (int i = 0; i < 4; i++) {
    const auto* p = reinterpret_cast<const __m256i*>(x + 8 * i);
    bits[i] = _mm256_and_si256(_mm256_loadu_si256(p), magnitude);
  }
  return reduce_two<larger>(larger(bits[0], bits[1]), larger(bits[2], bits[3]));
}

void store_bytes(const __m256i (&q)[4], int8_t* values) {
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs works in each 128 bits
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values),
                      _mm256_permutevar8x32_epi32(bytes, order));
}

Avx2Group quantize_group(const float* x, const Units& units, __m128 largest, int8_t* values) {
  const __m128 exact = _mm_mul_ps(largest, _mm_set1_ps(units.multiples));
  const __m128 scale = _mm_min_ps(_mm_ceil_ps(exact), _mm_set1_ps(kMostMultiple));
  const __m128 some = _mm_cmpgt_ps(scale, _mm_setzero_ps());
  const __m128 inverse = _mm_and_ps(some, _mm_div_ps(_mm_set1_ps(units.inverse), scale));
  const __m256 by[2] = {_mm256_broadcastss_ps(inverse),
                        _mm256_broadcastss_ps(_mm_movehdup_ps(inverse))};
  __m256i q[4];
  for (int i = 0; i < 4; i++) {
    q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), by[i / 2]));
  }
  store_bytes(q, values);
  const __m128i sums = reduce_two<plus>(plus(q[0], q[1]), plus(q[2], q[3]));
  const __m128i multiples = _mm_cvtps_epi32(scale);
  const __m128i products = _mm_mullo_epi32(sums, multiples);
  const int32_t whole = _mm_extract_epi32(products, 0) + _mm_extract_epi32(products, 1);
  const auto first = static_cast<int16_t>(_mm_extract_epi32(multiples, 0));
  const auto second = static_cast<int16_t>(_mm_extract_epi32(multiples, 1));
  return {{{first, first}, {second, second}},
          {static_cast<float>(first), static_cast<float>(second)},
          -8 * whole,
          static_cast<float>(whole),
          units.unit,
          {static_cast<int16_t>(_mm_extract_epi32(sums, 0)),
           static_cast<int16_t>(_mm_extract_epi32(sums, 1))}};
}

}  // namespace

void quantize_avx2(const float* x, int columns, int8_t* values, ActivationGroup* to) {
  const int count = columns / kGroupColumns;
  auto* groups = reinterpret_cast<Avx2Group*>(to);
  __m128i largest = _mm_setzero_si128();
  for (int g = 0; g < count; g++) {
    const __m128i of_halves = largest_of_halves(x + g * kGroupColumns);
    largest = _mm_max_epi32(largest, of_halves);
    // Kept where the scales will be.
    _mm_storel_epi64(reinterpret_cast<__m128i*>(groups[g].scale), of_halves);
  }
  largest = _mm_max_epi32(largest, _mm_shuffle_epi32(largest, 0xb1));
  const Units units = units_of(_mm_cvtsi128_si32(largest));
  if (units.inverse == 0) {
    __builtin_memset(values, 0, columns);
    for (int g = 0; g < count; g++) groups[g] = {{}, {}, 0, 0, units.unit, {}};
    return;
  }
  for (int g = 0; g < count; g++) {
    const __m128 magnitudes =
        _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(groups[g].scale)));
    groups[g] =
        quantize_group(x + g * kGroupColumns, units, magnitudes, values + g * kGroupColumns);
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
