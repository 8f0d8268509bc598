// linear for ARM with the int8 matrix extension.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)

namespace ck {
namespace {
constexpr bool kMatrices = true;
}  // namespace
}  // namespace ck

#include "neon_body.hpp"

namespace ck {
extern const LinearKernels* const kLinearNeonI8mm;
const LinearKernels* const kLinearNeonI8mm = &kKernels;
}  // namespace ck

#pragma clang attribute pop

#endif
