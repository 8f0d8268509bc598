#include "kernels.hpp"

namespace ck {

#if defined(__x86_64__)
void silu_gate_avx512(const float*, const float*, int, float*);
void silu_gate_avx2(const float*, const float*, int, float*);
#elif defined(__aarch64__)
void silu_gate_neon(const float*, const float*, int, float*);
#endif

Gate gate_kernel(ck_isa isa, ck_activation activation) {
  if (!ck_isa_supported(isa) || activation != CK_SILU) return nullptr;
  switch (isa) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
    case CK_ISA_AVX512_BF16:
      return silu_gate_avx512;
    case CK_ISA_AVX2:
      return silu_gate_avx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
    case CK_ISA_NEON_BF16:
      return silu_gate_neon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
