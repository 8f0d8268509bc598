// What the references of several ops share.
#ifndef CK_REFERENCE_HPP
#define CK_REFERENCE_HPP

#include "../../CMLX/include/cmlx.hpp"
#include "../include/ck_reference.h"

namespace ck::reference {

namespace mx = mlx::core;

/// x [rows, columns] times matrix^T -> [rows, matrix rows].
mx::array project(const mx::array& x, const ck_ref_matrix& matrix, mx::Stream stream);

/// RMS norm with a weight, or `x` itself. Zhang and Sennrich, 2019 (arXiv:1910.07467).
mx::array normed(const mx::array& x, cmlx_array weight, float epsilon, mx::Stream stream);

}  // namespace ck::reference

#endif  // CK_REFERENCE_HPP
