#if defined(__x86_64__)

#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

namespace ck {
namespace {

__m256i lanes(int left) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

float sum_of_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

}  // namespace

void rms_norm_avx2(const float* x, const float* weight, float epsilon, int columns, float* out) {
  __m256 squares = _mm256_setzero_ps();
  for (int k = 0; k < columns; k += 8) {
    __m256 v = _mm256_maskload_ps(x + k, lanes(columns - k));
    squares = _mm256_fmadd_ps(v, v, squares);
  }
  float mean = sum_of_lanes(squares) / static_cast<float>(columns);
  __m256 factor = _mm256_set1_ps(1.0f / __builtin_sqrtf(mean + epsilon));
  for (int k = 0; k < columns; k += 8) {
    __m256i mask = lanes(columns - k);
    __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + k, mask), factor);
    _mm256_maskstore_ps(out + k, mask, _mm256_mul_ps(v, _mm256_maskload_ps(weight + k, mask)));
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
