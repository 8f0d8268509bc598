#if defined(__x86_64__)

#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

namespace ck {
namespace {

/// 2^n for n in -127 ... 128, from its exponent bits: 0 and infinity at the ends.
__m256 power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/// e^x to 2 units in the last place: 2^n times a polynomial in the fraction (Cephes, expf). NaN
/// stays NaN; x beyond +-104 gives infinity or 0.
__m256 exponential(__m256 x) {
  x = _mm256_min_ps(_mm256_set1_ps(104.0f), x);  // the second operand where one is NaN
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 f = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  f = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), f);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_fmadd_ps(_mm256_mul_ps(f, f), p, _mm256_add_ps(f, _mm256_set1_ps(1.0f)));
  // In two steps, since n goes beyond the exponents of float32.
  __m256i whole = _mm256_cvtps_epi32(n);
  __m256i half = _mm256_srai_epi32(whole, 1);
  p = _mm256_mul_ps(p, power_of_two(half));
  return _mm256_mul_ps(p, power_of_two(_mm256_sub_epi32(whole, half)));
}

}  // namespace

void silu_gate_avx2(const float* gate, const float* up, int columns, float* out) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int k = 0; k < columns; k += 8) {
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(columns - k), lane);
    __m256 g = _mm256_maskload_ps(gate + k, mask);
    __m256 decay = exponential(_mm256_sub_ps(_mm256_setzero_ps(), g));
    __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, decay));
    _mm256_maskstore_ps(out + k, mask, _mm256_mul_ps(silu, _mm256_maskload_ps(up + k, mask)));
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
