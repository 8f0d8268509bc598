#include "kernels.hpp"

namespace ck {

#if defined(__x86_64__)
void rms_norm_avx512(const float*, const float*, float, int, float*);
void rms_norm_avx2(const float*, const float*, float, int, float*);
#elif defined(__aarch64__)
void rms_norm_neon(const float*, const float*, float, int, float*);
#endif

RmsNorm rms_norm_kernel(ck_isa isa) {
  if (!ck_isa_supported(isa)) return nullptr;
  switch (isa) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
    case CK_ISA_AVX512_BF16:
      return rms_norm_avx512;
    case CK_ISA_AVX2:
      return rms_norm_avx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
    case CK_ISA_NEON_BF16:
      return rms_norm_neon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
