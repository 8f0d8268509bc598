#include "linear.hpp"

#include "projection.hpp"

namespace ck {
namespace {

class Linear final : public Projection {
 public:
  Linear(RowBuffer x, const ck_matrix& matrix, const RowBuffer* residual, RowBuffer out,
         int max_rows, Scratch& scratch)
      : Projection(matrix, max_rows, scratch),
        x_(x),
        residual_(residual == nullptr ? nullptr : residual->data),
        out_(out) {}

 private:
  const float* input(const Step&, int row, float*) const override {
    return x_.data + static_cast<size_t>(row) * columns();
  }
  const float* residual() const override { return residual_; }
  float* output(const Step&) const override { return out_.data; }

  RowBuffer x_;
  const float* residual_;
  RowBuffer out_;
};

}  // namespace

std::unique_ptr<Node> make_linear(RowBuffer x, const ck_matrix& matrix, const RowBuffer* residual,
                                  RowBuffer out, int max_rows, Scratch& scratch) {
  return std::make_unique<Linear>(x, matrix, residual, out, max_rows, scratch);
}

}  // namespace ck
