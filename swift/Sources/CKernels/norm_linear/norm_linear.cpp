#include "norm_linear.hpp"

#include "../linear/projection.hpp"
#include "norm.hpp"

namespace ck {
namespace {

class NormLinear final : public Projection {
 public:
  NormLinear(RowBuffer x, const float* weight, float epsilon, const ck_matrix& matrix,
             RowBuffer out, int max_rows, Scratch& scratch)
      : Projection(matrix, max_rows, scratch),
        x_(x),
        norm_(isa(), weight, columns(), epsilon),
        out_(out) {}

 private:
  const float* input(const Step&, int row, float* buffer) const override {
    return norm_.apply(x_.data + static_cast<size_t>(row) * columns(), buffer);
  }
  float* output(const Step&) const override { return out_.data; }

  RowBuffer x_;
  Norm norm_;
  RowBuffer out_;
};

}  // namespace

std::unique_ptr<Node> make_norm_linear(RowBuffer x, const float* weight, float epsilon,
                                       const ck_matrix& matrix, RowBuffer out, int max_rows,
                                       Scratch& scratch) {
  return std::make_unique<NormLinear>(x, weight, epsilon, matrix, out, max_rows, scratch);
}

}  // namespace ck
