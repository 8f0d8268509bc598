// gatedLinear: linear(activation(gate) * up) plus residual, the second half of a gated MLP
// (arXiv:2002.05202).
#ifndef CK_GATED_LINEAR_HPP
#define CK_GATED_LINEAR_HPP

#include <memory>

#include "../linear/scratch.hpp"
#include "../plan/node.hpp"

namespace ck {

/// gate_up: [rows, 2 * columns], gate first. residual: may be null, and may be `out` itself.
std::unique_ptr<Node> make_gated_linear(RowBuffer gate_up, ck_activation activation,
                                        const ck_matrix& matrix, const RowBuffer* residual,
                                        RowBuffer out, int max_rows, Scratch& scratch);

}  // namespace ck

#endif  // CK_GATED_LINEAR_HPP
