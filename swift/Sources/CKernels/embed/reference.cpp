#include "../reference/reference.hpp"

extern "C" int ck_ref_embed(cmlx_stream stream, cmlx_array tokens, const ck_ref_matrix* table,
                            cmlx_array* out, cmlx_error* error) {
  namespace mx = mlx::core;
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    auto rows = [&](cmlx_array a) { return mx::take(a->value, tokens->value, 0, s); };
    mx::array weight = rows(table->weight);
    if (table->scales != nullptr) {
      weight = mx::dequantize(weight, rows(table->scales), rows(table->biases), table->group_size,
                              table->bits, "affine", std::nullopt, std::nullopt, s);
    }
    *out = cmlx::boxed(weight);
  });
}
