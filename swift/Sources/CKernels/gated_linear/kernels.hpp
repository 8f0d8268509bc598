#ifndef CK_GATE_KERNELS_HPP
#define CK_GATE_KERNELS_HPP

#include "../include/ckernels.h"

namespace ck {

/// out = activation(gate) * up, over `columns` floats.
using Gate = void (*)(const float* gate, const float* up, int columns, float* out);

/// Null where this build has none.
Gate gate_kernel(ck_isa isa, ck_activation activation);

}  // namespace ck

#endif  // CK_GATE_KERNELS_HPP
