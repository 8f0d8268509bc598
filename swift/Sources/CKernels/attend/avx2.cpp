// attend for AVX2.
#if defined(__x86_64__)

#include <immintrin.h>

#include "../kv/kv.hpp"
#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

namespace {

__m256i add_products(__m256i sums, __m256i a, __m256i b) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}

}  // namespace

#include "avx2_body.hpp"

#pragma clang attribute pop

namespace ck {

extern const AttendKernels* const kAttendAvx2;
const AttendKernels* const kAttendAvx2 = &kKernels;

}  // namespace ck

#endif
