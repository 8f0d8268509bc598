// linear for AVX2 with the VEX-encoded vpdpbusd: four products in 32 bits, no saturation.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)

#include "avx2_codes.hpp"

namespace ck {
namespace {

template <Layout layout>
__m256i half_dots(const __m256i (&codes)[4], const int8_t* x, const ActivationGroup& group,
                  int half) {
  __m256i dots = _mm256_setzero_si256();
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) {
    dots = _mm256_dpbusd_avx_epi32(dots, codes[j], four_columns(x + 4 * j));
  }
  return less_zero_point<layout>(dots, group, half);
}

template <Layout layout>
__m256i load_codes(const uint8_t* values, int quad) {
  return load_quad<layout>(values, quad);
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
