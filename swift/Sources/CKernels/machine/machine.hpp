// What this processor can run, as far as the kernels care.
#ifndef CK_MACHINE_HPP
#define CK_MACHINE_HPP

#include "../include/ckernels.h"

namespace ck {

/// Each is set only when the operating system saves the registers it needs.
struct CpuFeatures {
  bool avx2 = false;         // with FMA and F16C
  bool avx_vnni = false;     // VEX-encoded vpdpbusd
  bool avx512_vnni = false;  // with AVX-512 F, BW, VL, DQ
  bool avx512_bf16 = false;  // with VNNI
  bool neon_dot = false;     // sdot, udot
  bool neon_i8mm = false;    // smmla, usdot
  bool neon_bf16 = false;    // bfdot, bfmmla; with sdot
};

const CpuFeatures& cpu_features();

/// The instruction set that `isa` adds instructions to, or itself: an op without kernels for what
/// was added runs those of that one.
ck_isa base_isa(ck_isa isa);

}  // namespace ck

#endif  // CK_MACHINE_HPP
