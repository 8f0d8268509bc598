// normLinear: linear(x / sqrt(mean(x^2) + epsilon) * weight), RMS norm of arXiv:1910.07467.
#ifndef CK_NORM_LINEAR_HPP
#define CK_NORM_LINEAR_HPP

#include <memory>

#include "../linear/scratch.hpp"
#include "../plan/node.hpp"

namespace ck {

/// weight: [columns], copied; null: no norm.
std::unique_ptr<Node> make_norm_linear(RowBuffer x, const float* weight, float epsilon,
                                       const ck_matrix& matrix, RowBuffer out, int max_rows,
                                       Scratch& scratch);

}  // namespace ck

#endif  // CK_NORM_LINEAR_HPP
