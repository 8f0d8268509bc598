#include "kernels.hpp"

#include "../machine/machine.hpp"

namespace ck {

#if defined(__x86_64__)
extern const AttendKernels* const kAttendAvx512;
extern const AttendKernels* const kAttendAvx2;
extern const AttendKernels* const kAttendAvxVnni;
#elif defined(__aarch64__)
extern const AttendKernels* const kAttendNeon;
#endif

const AttendKernels* attend_kernels(ck_isa isa) {
  if (!ck_isa_supported(isa)) return nullptr;
  switch (base_isa(isa)) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
      return kAttendAvx512;
    case CK_ISA_AVX2:
      return cpu_features().avx_vnni ? kAttendAvxVnni : kAttendAvx2;
#elif defined(__aarch64__)
    case CK_ISA_NEON:
      return kAttendNeon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
