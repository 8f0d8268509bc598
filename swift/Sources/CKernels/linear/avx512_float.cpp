// linear of float weights for AVX-512, in float32.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

#include "avx512.hpp"

namespace ck {
namespace {

template <int rows>
void start(const LinearTask& t, int row, const float* (&x)[rows], __m512 (&sums)[rows]) {
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.floats + static_cast<size_t>(row + r) * t.x.columns;
    sums[r] = _mm512_setzero_ps();
  }
}

/// sums[r] += w * column k of row r
template <int rows>
void add_column(__m512 w, int k, const float* const (&x)[rows], __m512 (&sums)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) sums[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[r][k]), sums[r]);
}

/// 16 outputs of one column, of f16 or f32.
template <Layout layout>
struct FloatBlock {
  template <int rows>
  static void multiply(const LinearTask& t, int panel, int row) {
    constexpr ScaleType kType = layout == Layout::f16 ? ScaleType::f16 : ScaleType::f32;
    constexpr int kStride = layout == Layout::f16 ? 32 : 64;
    const uint8_t* p = t.panels + panel * t.panel_bytes;
    const float* x[rows];
    __m512 sums[rows];
    start(t, row, x, sums);
    for (int k = 0; k < t.x.columns; k++, p += kStride) {
      if constexpr (rows > 1) prefetch<1>(p);
      add_column(load_scales(p, kType), k, x, sums);
    }
    for (int r = 0; r < rows; r++) store(sums[r], t, row + r, panel * kPanelRows);
  }
};

/// 16 outputs of two columns of bfloat16, which are the upper halves of floats.
struct PairBlock {
  template <int rows>
  static void multiply(const LinearTask& t, int panel, int row) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000));
    const uint8_t* p = t.panels + panel * t.panel_bytes;
    const float* x[rows];
    __m512 sums[rows];
    start(t, row, x, sums);
    for (int k = 0; k < t.x.columns; k += 2, p += 64) {
      if constexpr (rows > 1) prefetch<1>(p);
      const __m512i pair = _mm512_load_si512(p);
      add_column(_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)), k, x, sums);
      if (k + 1 == t.x.columns) break;
      add_column(_mm512_castsi512_ps(_mm512_and_si512(pair, upper)), k + 1, x, sums);
    }
    for (int r = 0; r < rows; r++) store(sums[r], t, row + r, panel * kPanelRows);
  }
};

}  // namespace

void multiply_float16_avx512(const LinearTask& task) {
  multiply_rows<FloatBlock<Layout::f16>>(task);
}
void multiply_bfloat16_as_float_avx512(const LinearTask& task) { multiply_rows<PairBlock>(task); }
void multiply_float32_avx512(const LinearTask& task) {
  multiply_rows<FloatBlock<Layout::f32>>(task);
}

}  // namespace ck

#pragma clang attribute pop

#endif
