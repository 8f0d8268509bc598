#include "kernels.hpp"

namespace ck {

#if defined(__x86_64__)
extern const AttendKernels kAttendAvx512;
#endif

const AttendKernels* attend_kernels(ck_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case CK_ISA_AVX512_VNNI:
      return &kAttendAvx512;
#endif
    default:
      return nullptr;
  }
}

}  // namespace ck
