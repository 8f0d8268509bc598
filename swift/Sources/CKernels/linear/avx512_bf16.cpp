// linear of bfloat16 weights for AVX-512 with BF16: vdpbf16ps multiplies pairs of columns and adds
// them in float32, at the rate of one FMA. It rounds to nearest and takes subnormal numbers for 0,
// whatever MXCSR says.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"))), \
    apply_to = function)

#include "avx512.hpp"

namespace ck {
namespace {

/// Two chains of sums, of even and of odd pairs: one would wait for itself where there is one row.
struct DotBlock {
  template <int rows>
  static void multiply(const LinearTask& t, int panel, int row) {
    const uint8_t* p = t.panels + panel * t.panel_bytes;
    const int pairs = (t.x.columns + 1) / 2;
    const int32_t* x[rows];
    __m512 even[rows], odd[rows];
    for (int r = 0; r < rows; r++) {
      x[r] = reinterpret_cast<const int32_t*>(t.x.bfloats) + static_cast<size_t>(row + r) * pairs;
      even[r] = odd[r] = _mm512_setzero_ps();
    }
    int k = 0;
    for (; k + 2 <= pairs; k += 2, p += 128) {
      if constexpr (rows > 1) prefetch<2>(p);
      add_pair(p, k, x, even);
      add_pair(p + 64, k + 1, x, odd);
    }
    if (k < pairs) add_pair(p, k, x, even);
    for (int r = 0; r < rows; r++) {
      store(_mm512_add_ps(even[r], odd[r]), t, row + r, panel * kPanelRows);
    }
  }

 private:
  template <int rows>
  static void add_pair(const uint8_t* p, int k, const int32_t* const (&x)[rows],
                       __m512 (&sums)[rows]) {
    const auto w = __builtin_bit_cast(__m512bh, _mm512_load_si512(p));
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const auto pair = __builtin_bit_cast(__m512bh, _mm512_set1_epi32(x[r][k]));
      sums[r] = _mm512_dpbf16_ps(sums[r], w, pair);
    }
  }
};

}  // namespace

void multiply_bfloat16_avx512(const LinearTask& task) {
  if (task.format.float_activations) return multiply_bfloat16_as_float_avx512(task);
  multiply_rows<DotBlock>(task);
}

void round_avx512(const float* x, int columns, uint16_t* bfloats) {
  for (int k = 0; k < columns; k += 16) {
    const int left = columns - k, stored = (left + 1) / 2 * 2;
    const __mmask16 read = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __mmask16 written = stored >= 16 ? 0xffff : static_cast<__mmask16>((1u << stored) - 1);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(read, x + k));
    _mm256_mask_storeu_epi16(bfloats + k, written, __builtin_bit_cast(__m256i, rounded));
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
