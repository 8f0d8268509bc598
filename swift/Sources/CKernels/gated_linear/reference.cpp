#include "../reference/reference.hpp"

#include <stdexcept>

extern "C" int ck_ref_gated_linear(cmlx_stream stream, cmlx_array gate_up, ck_activation activation,
                                   const ck_ref_matrix* matrix, cmlx_array residual,
                                   cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    if (activation != CK_SILU) throw std::invalid_argument("unknown activation");
    mx::Stream s = stream->value;
    std::vector<mx::array> halves = mx::split(gate_up->value, 2, 1, s);
    // SiLU: Elfwing, Uchibe and Doya, 2018 (arXiv:1702.03118).
    mx::array gate = mx::multiply(halves[0], mx::sigmoid(halves[0], s), s);
    mx::array y = ck::reference::project(mx::multiply(gate, halves[1], s), *matrix, s);
    *out = cmlx::boxed(residual == nullptr ? y : mx::add(residual->value, y, s));
  });
}
