#include "../reference/reference.hpp"

extern "C" int ck_ref_logits(cmlx_stream stream, cmlx_array x, const int32_t* rows, int count,
                             cmlx_array weight, float epsilon, const ck_ref_matrix* matrix,
                             cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    mx::array wanted = mx::take(x->value, mx::array(rows, {count}, mx::int32), 0, s);
    mx::array y =
        ck::reference::project(ck::reference::normed(wanted, weight, epsilon, s), *matrix, s);
    *out = cmlx::boxed(mx::astype(y, mx::float32, s));
  });
}
