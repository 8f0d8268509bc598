// logits: normLinear of the step's logit rows alone, into Step::output [logit_count, matrix rows].
#ifndef CK_LOGITS_HPP
#define CK_LOGITS_HPP

#include <memory>

#include "../linear/scratch.hpp"
#include "../plan/node.hpp"

namespace ck {

/// weight: [columns], copied; null: no norm.
std::unique_ptr<Node> make_logits(RowBuffer x, const float* weight, float epsilon,
                                  const ck_matrix& matrix, int max_rows, Scratch& scratch);

}  // namespace ck

#endif  // CK_LOGITS_HPP
