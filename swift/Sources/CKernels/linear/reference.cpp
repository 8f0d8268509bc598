#include "../reference/reference.hpp"

extern "C" int ck_ref_linear(cmlx_stream stream, cmlx_array x, const ck_ref_matrix* matrix,
                             cmlx_array residual, cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    mx::array y = ck::reference::project(x->value, *matrix, stream->value);
    *out = cmlx::boxed(residual == nullptr ? y : mx::add(residual->value, y, stream->value));
  });
}
