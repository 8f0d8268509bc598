#include "gated_linear.hpp"

#include <stdexcept>

#include "../linear/projection.hpp"
#include "kernels.hpp"

namespace ck {
namespace {

class GatedLinear final : public Projection {
 public:
  GatedLinear(RowBuffer gate_up, ck_activation activation, const ck_matrix& matrix,
              const RowBuffer* residual, RowBuffer out, int max_rows, Scratch& scratch)
      : Projection(matrix, max_rows, scratch),
        gate_up_(gate_up),
        gate_(gate_kernel(isa(), activation)),
        residual_(residual == nullptr ? nullptr : residual->data),
        out_(out) {
    if (gate_ == nullptr) throw std::invalid_argument("no kernel for this activation");
  }

 private:
  const float* input(const Step&, int row, float* buffer) const override {
    const float* gate = gate_up_.data + static_cast<size_t>(row) * gate_up_.columns;
    gate_(gate, gate + columns(), columns(), buffer);
    return buffer;
  }
  const float* residual() const override { return residual_; }
  float* output(const Step&) const override { return out_.data; }

  RowBuffer gate_up_;
  Gate gate_;
  const float* residual_;
  RowBuffer out_;
};

}  // namespace

std::unique_ptr<Node> make_gated_linear(RowBuffer gate_up, ck_activation activation,
                                        const ck_matrix& matrix, const RowBuffer* residual,
                                        RowBuffer out, int max_rows, Scratch& scratch) {
  return std::make_unique<GatedLinear>(gate_up, activation, matrix, residual, out, max_rows,
                                       scratch);
}

}  // namespace ck
