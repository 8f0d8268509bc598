#ifndef CK_NORM_HPP
#define CK_NORM_HPP

#include <stdexcept>
#include <vector>

#include "kernels.hpp"

namespace ck {

/// RMS norm with its weight, or nothing where there is no weight.
class Norm {
 public:
  Norm(ck_isa isa, const float* weight, int columns, float epsilon)
      : kernel_(rms_norm_kernel(isa)), epsilon_(epsilon) {
    if (kernel_ == nullptr) throw std::invalid_argument("no kernels for this instruction set");
    if (weight != nullptr) weight_.assign(weight, weight + columns);
  }

  /// The normed row: in `out`, or `x` itself without a norm.
  const float* apply(const float* x, float* out) const {
    if (weight_.empty()) return x;
    kernel_(x, weight_.data(), epsilon_, static_cast<int>(weight_.size()), out);
    return out;
  }

 private:
  RmsNorm kernel_;
  float epsilon_;
  std::vector<float> weight_;
};

}  // namespace ck

#endif  // CK_NORM_HPP
