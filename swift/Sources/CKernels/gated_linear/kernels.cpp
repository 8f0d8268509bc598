#include "kernels.hpp"

#include "../machine/machine.hpp"

namespace ck {

#if defined(__x86_64__)
void silu_gate_avx512(const float*, const float*, int, float*);
void silu_gate_avx2(const float*, const float*, int, float*);
#elif defined(__aarch64__)
void silu_gate_neon(const float*, const float*, int, float*);
#endif

Gate gate_kernel(ck_isa isa, ck_activation activation) {
  if (!ck_isa_supported(isa) || activation != CK_SILU) return nullptr;
  switch (base_isa(isa)) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
      return silu_gate_avx512;
    case CK_ISA_AVX2:
      return silu_gate_avx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
      return silu_gate_neon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
