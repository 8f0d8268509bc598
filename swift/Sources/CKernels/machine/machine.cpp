#include "machine.hpp"

#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace ck {
namespace {

#if defined(__x86_64__)

// Bits of XCR0: SSE and AVX state; and the three parts of AVX-512 state.
constexpr unsigned kAvxState = 0x06, kAvx512State = 0xe6;

unsigned saved_state() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

CpuFeatures detect() {
  CpuFeatures features;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return features;
  constexpr unsigned kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr unsigned kNeeded = kFma | kOsxsave | kAvx | kF16c;
  if ((c & kNeeded) != kNeeded) return features;
  unsigned state = saved_state();
  if ((state & kAvxState) != kAvxState) return features;

  unsigned subleaves, b7, c7;
  if (!__get_cpuid_count(7, 0, &subleaves, &b7, &c7, &d)) return features;
  features.avx2 = b7 & (1u << 5);
  constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
  constexpr unsigned kAvx512 = kF | kDq | kBw | kVl, kVnni = 1u << 11;
  features.avx512_vnni = features.avx2 && (state & kAvx512State) == kAvx512State &&
                         (b7 & kAvx512) == kAvx512 && (c7 & kVnni);
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    features.avx_vnni = features.avx2 && (a & (1u << 4));
    features.avx512_bf16 = features.avx512_vnni && (a & (1u << 5));
  }
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect() {
  constexpr unsigned long kAsimdDot = 1ul << 20;                 // HWCAP
  constexpr unsigned long kI8mm = 1ul << 13, kBf16 = 1ul << 14;  // HWCAP2
  CpuFeatures features;
  features.neon_dot = getauxval(AT_HWCAP) & kAsimdDot;
  features.neon_i8mm = features.neon_dot && (getauxval(AT_HWCAP2) & kI8mm);
  features.neon_bf16 = features.neon_dot && (getauxval(AT_HWCAP2) & kBf16);
  return features;
}

#elif defined(__APPLE__)

bool has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

CpuFeatures detect() {
  CpuFeatures features;
  features.neon_dot = has("hw.optional.arm.FEAT_DotProd");
  features.neon_i8mm = features.neon_dot && has("hw.optional.arm.FEAT_I8MM");
  features.neon_bf16 = features.neon_dot && has("hw.optional.arm.FEAT_BF16");
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

ck_isa base_isa(ck_isa isa) {
  switch (isa) {
    case CK_ISA_AVX512_BF16:
      return CK_ISA_AVX512_VNNI;
    case CK_ISA_NEON_BF16:
      return CK_ISA_NEON;
    default:
      return isa;
  }
}

}  // namespace ck

extern "C" int ck_isa_supported(ck_isa isa) {
  const ck::CpuFeatures& features = ck::cpu_features();
  switch (isa) {
    case CK_ISA_AVX2:
      return features.avx2;
    case CK_ISA_AVX512_VNNI:
      return features.avx512_vnni;
    case CK_ISA_AVX512_BF16:
      return features.avx512_bf16;
    case CK_ISA_NEON:
      return features.neon_dot;
    case CK_ISA_NEON_BF16:
      return features.neon_bf16;
  }
  return 0;
}

extern "C" int ck_isa_best(void) {
  for (ck_isa isa :
       {CK_ISA_AVX512_BF16, CK_ISA_AVX512_VNNI, CK_ISA_AVX2, CK_ISA_NEON_BF16, CK_ISA_NEON}) {
    if (ck_isa_supported(isa)) return isa;
  }
  return 0;
}
