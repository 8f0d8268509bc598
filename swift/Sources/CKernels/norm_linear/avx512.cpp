#if defined(__x86_64__)

#include <immintrin.h>

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)

namespace ck {
namespace {

__mmask16 lanes(int left) { return left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1); }

}  // namespace

void rms_norm_avx512(const float* x, const float* weight, float epsilon, int columns, float* out) {
  __m512 squares = _mm512_setzero_ps();
  for (int k = 0; k < columns; k += 16) {
    __m512 v = _mm512_maskz_loadu_ps(lanes(columns - k), x + k);
    squares = _mm512_fmadd_ps(v, v, squares);
  }
  float mean = _mm512_reduce_add_ps(squares) / static_cast<float>(columns);
  __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(mean + epsilon));
  for (int k = 0; k < columns; k += 16) {
    __mmask16 mask = lanes(columns - k);
    __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + k), factor);
    _mm512_mask_storeu_ps(out + k, mask, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, weight + k)));
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
