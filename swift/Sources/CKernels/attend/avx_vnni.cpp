// attend for AVX2 with the VEX-encoded vpdpwssd. Its results are those of AVX2: the sums are exact.
#if defined(__x86_64__)

#include <immintrin.h>

#include "../kv/kv.hpp"
#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)

namespace {

__m256i add_products(__m256i sums, __m256i a, __m256i b) {
  return _mm256_dpwssd_avx_epi32(sums, a, b);
}

}  // namespace

#include "avx2_body.hpp"

#pragma clang attribute pop

namespace ck {

extern const AttendKernels* const kAttendAvxVnni;
const AttendKernels* const kAttendAvxVnni = &kKernels;

}  // namespace ck

#endif
