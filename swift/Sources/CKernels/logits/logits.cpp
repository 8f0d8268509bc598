#include "logits.hpp"

#include "../linear/projection.hpp"
#include "../norm_linear/norm.hpp"

namespace ck {
namespace {

class Logits final : public Projection {
 public:
  Logits(RowBuffer x, const float* weight, float epsilon, const ck_matrix& matrix, int max_rows,
         Scratch& scratch)
      : Projection(matrix, max_rows, scratch), x_(x), norm_(isa(), weight, columns(), epsilon) {}

 private:
  int row_count(const Step& step) const override { return step.logit_count; }
  const float* input(const Step& step, int row, float* buffer) const override {
    return norm_.apply(x_.data + static_cast<size_t>(step.logit_rows[row]) * columns(), buffer);
  }
  float* output(const Step& step) const override { return step.output; }

  RowBuffer x_;
  Norm norm_;
};

}  // namespace

std::unique_ptr<Node> make_logits(RowBuffer x, const float* weight, float epsilon,
                                  const ck_matrix& matrix, int max_rows, Scratch& scratch) {
  return std::make_unique<Logits>(x, weight, epsilon, matrix, max_rows, scratch);
}

}  // namespace ck
