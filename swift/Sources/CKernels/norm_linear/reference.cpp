#include "../reference/reference.hpp"

extern "C" int ck_ref_norm_linear(cmlx_stream stream, cmlx_array x, cmlx_array weight,
                                  float epsilon, const ck_ref_matrix* parts, int count,
                                  cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    mx::array input = ck::reference::normed(x->value, weight, epsilon, s);
    std::vector<mx::array> projected;
    for (int i = 0; i < count; i++) {
      projected.push_back(ck::reference::project(input, parts[i], s));
    }
    *out = cmlx::boxed(count == 1 ? projected[0] : mx::concatenate(projected, 1, s));
  });
}
