// ck_sample: an MLX primitive over the logits of a step.
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../CMLX/include/cmlx.hpp"
#include "../include/ckernels.h"
#include "../pool/pool.hpp"
#include "draw.hpp"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"

namespace {

namespace mx = mlx::core;

/// input: logits, float32 [rows, vocabulary]. output: int32 [rows].
class SamplePrimitive : public mx::UnaryPrimitive {
 public:
  SamplePrimitive(mx::Stream stream, std::vector<ck_sampling> rows)
      : UnaryPrimitive(stream),
        rows_(std::make_shared<std::vector<ck_sampling>>(std::move(rows))) {}

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    const mx::array& logits = inputs[0];
    if (!logits.flags().row_contiguous) {
      throw std::invalid_argument("sampling needs contiguous logits");
    }
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [rows = rows_, vocabulary = logits.shape(1), x = logits.data<float>(),
         tokens = out.data<int32_t>(), keep = logits.data_shared_ptr(),
         keep_output = out.data_shared_ptr()] { draw(*rows, vocabulary, x, tokens); });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::runtime_error("this sampler runs on a CPU stream only");
  }

  const char* name() const override { return "Sample"; }

 private:
  static void draw(const std::vector<ck_sampling>& rows, int vocabulary, const float* logits,
                   int32_t* tokens) {
    auto draw_row = [&](int row) {
      const float* x = logits + size_t(row) * vocabulary;
      tokens[row] = rows[row].temperature == 0 ? ck::most_likely(x, vocabulary, row)
                                               : ck::Drawer().draw(x, vocabulary, rows[row], row);
    };
    if (rows.size() == 1) return draw_row(0);
    ck::Pool::shared().run(
        [&](ck::Worker& worker) { worker.for_each(int(rows.size()), draw_row); });
  }

  std::shared_ptr<const std::vector<ck_sampling>> rows_;
};

}  // namespace

extern "C" int ck_sample(cmlx_stream stream, cmlx_array logits, const ck_sampling* rows, int count,
                         cmlx_array* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    const mx::array& x = logits->value;
    if (x.dtype() != mx::float32 || x.ndim() != 2 || x.shape(1) < 1) {
      throw std::invalid_argument("sampling needs logits of float32 [rows, vocabulary]");
    }
    if (count < 1 || x.shape(0) != count) {
      throw std::invalid_argument("sampling parameters of " + std::to_string(count) +
                                  " rows for logits of " + std::to_string(x.shape(0)));
    }
    for (int i = 0; i < count; i++) ck::check_sampling(rows[i], i);
    *out = cmlx::boxed(mx::array({count}, mx::int32,
                                 std::make_shared<SamplePrimitive>(
                                     stream->value, std::vector<ck_sampling>(rows, rows + count)),
                                 {x}));
  });
}
