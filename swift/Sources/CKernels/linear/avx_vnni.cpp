// linear for AVX2 with the VEX-encoded vpdpbusd: four products in 32 bits, no saturation.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

/// dots[r] += w * columns 4 quad ... 4 quad + 3 of row r
template <int rows>
void add_quads(__m256i w, const int8_t* const (&x)[rows], int quad, __m256i (&dots)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    __m256i four = _mm256_set1_epi32(reinterpret_cast<const int32_t*>(x[r])[quad]);
    dots[r] = _mm256_dpbusd_avx_epi32(dots[r], w, four);
  }
}

template <Layout layout, int half, int rows>
void add_dots(const uint8_t* values, const int8_t* const (&x)[rows], __m256i (&dots)[rows]) {
#pragma clang loop unroll(full)
  for (int j = 4 * half; j < 4 * half + 4; j++) {
    add_quads<rows>(load_quad<layout>(values, j), x, j, dots);
  }
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
