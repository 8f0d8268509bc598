#include "reference.hpp"

namespace ck::reference {

mx::array project(const mx::array& x, const ck_ref_matrix& matrix, mx::Stream stream) {
  const mx::array& weight = matrix.weight->value;
  if (matrix.scales == nullptr) return mx::matmul(x, mx::transpose(weight, stream), stream);
  return mx::quantized_matmul(x, weight, matrix.scales->value, matrix.biases->value, true,
                              matrix.group_size, matrix.bits, "affine", stream);
}

mx::array normed(const mx::array& x, cmlx_array weight, float epsilon, mx::Stream stream) {
  return weight == nullptr ? x : mx::fast::rms_norm(x, weight->value, epsilon, stream);
}

}  // namespace ck::reference

extern "C" int ck_ref_tokens(cmlx_stream stream, const int32_t* tokens, int count,
                             cmlx_array previous, cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    mx::array given(tokens, {count}, mx::int32);
    if (previous != nullptr) {
      mx::array zero(0, mx::int32);
      mx::array sampled = mx::less(given, zero, s);
      mx::array index =
          mx::where(sampled, mx::subtract(mx::array(-1, mx::int32), given, s), zero, s);
      given = mx::where(sampled, mx::take(previous->value, index, 0, s), given, s);
    }
    *out = cmlx::boxed(given);
  });
}
