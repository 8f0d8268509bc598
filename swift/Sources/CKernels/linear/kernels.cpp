#include "kernels.hpp"

#include "../machine/machine.hpp"

namespace ck {

/// With activations in bfloat16 for sections of bfloat16.
static LinearKernels with_bfloats(LinearKernels kernels, void (*multiply)(const LinearTask&),
                                  void (*round)(const float*, int, uint16_t*)) {
  kernels.multiply[static_cast<int>(Layout::bf16)] = multiply;
  kernels.round = round;
  return kernels;
}

#if defined(__x86_64__)
extern const LinearKernels* const kLinearAvx512;
extern const LinearKernels* const kLinearAvx2;
extern const LinearKernels* const kLinearAvxVnni;
void multiply_bfloat16_avx512(const LinearTask&);
void round_avx512(const float*, int, uint16_t*);

static const LinearKernels& avx512_bf16() {
  static const LinearKernels kernels =
      with_bfloats(*kLinearAvx512, multiply_bfloat16_avx512, round_avx512);
  return kernels;
}
#elif defined(__aarch64__)
extern const LinearKernels* const kLinearNeon;
extern const LinearKernels* const kLinearNeonI8mm;
void multiply_bfloat16_neon(const LinearTask&);
void round_neon(const float*, int, uint16_t*);

static const LinearKernels& neon() {
  return cpu_features().neon_i8mm ? *kLinearNeonI8mm : *kLinearNeon;
}

static const LinearKernels& neon_bf16() {
  static const LinearKernels kernels = with_bfloats(neon(), multiply_bfloat16_neon, round_neon);
  return kernels;
}
#endif

const LinearKernels* linear_kernels(ck_isa isa) {
  if (!ck_isa_supported(isa)) return nullptr;
  switch (isa) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
      return kLinearAvx512;
    case CK_ISA_AVX512_BF16:
      return &avx512_bf16();
    case CK_ISA_AVX2:
      return cpu_features().avx_vnni ? kLinearAvxVnni : kLinearAvx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
      return &neon();
    case CK_ISA_NEON_BF16:
      return &neon_bf16();
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
