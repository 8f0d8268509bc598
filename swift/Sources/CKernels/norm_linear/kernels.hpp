#ifndef CK_NORM_KERNELS_HPP
#define CK_NORM_KERNELS_HPP

#include "../include/ckernels.h"

namespace ck {

/// out = x / sqrt(mean(x^2) + epsilon) * weight, over `columns` floats. Lanes sum squares of every
/// 16th (8th, 4th) column; lanes are then added in a fixed order.
using RmsNorm = void (*)(const float* x, const float* weight, float epsilon, int columns,
                         float* out);

/// Null where this build has none.
RmsNorm rms_norm_kernel(ck_isa isa);

}  // namespace ck

#endif  // CK_NORM_KERNELS_HPP
