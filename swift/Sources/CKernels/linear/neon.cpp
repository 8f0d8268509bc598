// linear for ARM with the dot product extension.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

namespace ck {
namespace {
constexpr bool kMatrices = false;
}  // namespace
}  // namespace ck

#include "neon_body.hpp"

namespace ck {
extern const LinearKernels* const kLinearNeon;
const LinearKernels* const kLinearNeon = &kKernels;
}  // namespace ck

#pragma clang attribute pop

#endif
