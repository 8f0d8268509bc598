#include "kernels.hpp"

#include "../machine/machine.hpp"

namespace ck {

#if defined(__x86_64__)
void rms_norm_avx512(const float*, const float*, float, int, float*);
void rms_norm_avx2(const float*, const float*, float, int, float*);
#elif defined(__aarch64__)
void rms_norm_neon(const float*, const float*, float, int, float*);
#endif

RmsNorm rms_norm_kernel(ck_isa isa) {
  if (!ck_isa_supported(isa)) return nullptr;
  switch (base_isa(isa)) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
      return rms_norm_avx512;
    case CK_ISA_AVX2:
      return rms_norm_avx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
      return rms_norm_neon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
