// ck_sample: an MLX primitive over the logits of a step.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../CMLX/include/cmlx.hpp"
#include "../include/ckernels.h"
#include "../pool/pool.hpp"
#include "draw.hpp"
#include "logprobs.hpp"
#include "mask.hpp"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"
#include "sampler.hpp"

namespace {

namespace mx = mlx::core;

constexpr int kLogprobWords = sizeof(ck_logprob) / sizeof(int32_t);
static_assert(sizeof(ck_logprob) == 3 * sizeof(int32_t));

/// A step's rows, with what they point to.
struct Rows {
  std::vector<ck_sampling> sampling;
  std::vector<std::shared_ptr<ck::Sampler>> samplers;  // of each row, or empty
  std::vector<uint32_t> masks;                         // of those rows that have one
  std::vector<int32_t> given;                          // of all rows
  std::vector<int> first_logprob;                      // of each row, or empty
  int logprob_count = 0;

  Rows(const ck_sampling* rows, int count, int vocabulary);

  void draw(int row, const float* logits, int vocabulary, int32_t* tokens,
            ck_logprob* logprobs) const;

 private:
  void take_samplers(int vocabulary);
  void take_arrays(int vocabulary);
  int32_t drawn(int row, const float* logits, int vocabulary) const;
  int32_t processed(int row, const float* logits, int vocabulary) const;
};

Rows::Rows(const ck_sampling* rows, int count, int vocabulary) : sampling(rows, rows + count) {
  bool any = false;
  for (int i = 0; i < count; i++) {
    ck::check_sampling(rows[i], vocabulary, i);
    any = any || rows[i].sampler != nullptr;
    logprob_count += 1 + rows[i].logprobs;
  }
  if (any) take_samplers(vocabulary);
  take_arrays(vocabulary);
  if (logprob_count == 0) return;
  int first = 0;
  for (const ck_sampling& row : sampling) {
    first_logprob.push_back(first);
    first += 1 + row.logprobs;
  }
}

void Rows::take_samplers(int vocabulary) {
  for (const ck_sampling& row : sampling) {
    samplers.push_back(row.sampler == nullptr ? nullptr : row.sampler->state);
    if (row.sampler != nullptr && row.sampler->state->vocabulary() != vocabulary) {
      throw std::invalid_argument("a sampler of another vocabulary");
    }
  }
  auto sorted = samplers;
  sorted.erase(std::remove(sorted.begin(), sorted.end(), nullptr), sorted.end());
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    throw std::invalid_argument("two rows of one step have the same sampler");
  }
}

/// Copies what the caller's rows point to.
void Rows::take_arrays(int vocabulary) {
  size_t words = ck::mask_words(vocabulary), mask_count = 0, given_count = 0;
  for (const ck_sampling& row : sampling) {
    if (row.mask != nullptr) mask_count++;
    given_count += row.given_count;
  }
  masks.reserve(mask_count * words);
  given.reserve(given_count);
  for (ck_sampling& row : sampling) {
    if (row.mask != nullptr) {
      masks.insert(masks.end(), row.mask, row.mask + words);
      row.mask = masks.data() + masks.size() - words;
    }
    given.insert(given.end(), row.given, row.given + row.given_count);
    row.given = given.data() + given.size() - row.given_count;
  }
}

int32_t Rows::drawn(int row, const float* logits, int vocabulary) const {
  const ck_sampling& s = sampling[row];
  return s.temperature == 0 ? ck::peak_of(logits, vocabulary).token
                            : ck::Drawer().draw(logits, vocabulary, s);
}

/// The token drawn from what the row's mask and sampler make of its logits.
int32_t Rows::processed(int row, const float* logits, int vocabulary) const {
  const ck_sampling& s = sampling[row];
  thread_local std::vector<float> masked, adjusted;
  if (s.mask != nullptr) {
    masked.resize(vocabulary);
    ck::apply_mask(s.mask, logits, vocabulary, masked.data());
    logits = masked.data();
  }
  if (s.sampler != nullptr) {
    adjusted.resize(vocabulary);
    ck::Sampler& sampler = *samplers[row];
    sampler.rewind(size_t(s.index) - s.given_count);
    for (int i = 0; i < s.given_count; i++) sampler.append(s.given[i]);
    sampler.adjust(logits, adjusted.data());
    logits = adjusted.data();
  }
  int32_t token = drawn(row, logits, vocabulary);
  // Some token in place of none, so that a step that is already queued finds its count.
  if (s.sampler != nullptr) samplers[row]->append(std::max(token, 0));
  return token;
}

void Rows::draw(int row, const float* logits, int vocabulary, int32_t* tokens,
                ck_logprob* logprobs) const {
  const ck_sampling& s = sampling[row];
  tokens[row] = s.known >= 0 ? s.known : processed(row, logits, vocabulary);
  if (s.logprobs < 0) return;
  tokens[row] = ck::write_logprobs(logits, vocabulary, tokens[row], s.logprobs,
                                   logprobs + first_logprob[row]);
}

/// input: logits, float32 [rows, vocabulary]. outputs: int32 [rows] and, where a row asks for
/// logprobs, int32 [entries, 3].
class SamplePrimitive : public mx::Primitive {
 public:
  SamplePrimitive(mx::Stream stream, std::shared_ptr<const Rows> rows,
                  std::shared_ptr<cmlx::Outcome> outcome)
      : Primitive(stream), rows_(std::move(rows)), outcome_(std::move(outcome)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array& logits = inputs[0];
    if (!logits.flags().row_contiguous) {
      throw std::invalid_argument("sampling needs contiguous logits");
    }
    std::vector<std::shared_ptr<mx::array::Data>> keep{logits.data_shared_ptr()};
    for (mx::array& out : outputs) {
      out.set_data(mx::allocator::malloc(out.nbytes()));
      keep.push_back(out.data_shared_ptr());
    }
    auto* logprobs =
        outputs.size() < 2 ? nullptr : reinterpret_cast<ck_logprob*>(outputs[1].data<int32_t>());
    mx::cpu::get_command_encoder(stream()).dispatch([rows = rows_, vocabulary = logits.shape(1),
                                                     x = logits.data<float>(),
                                                     tokens = outputs[0].data<int32_t>(), logprobs,
                                                     keep = std::move(keep), outcome = outcome_] {
      outcome->of([&] { draw(*rows, vocabulary, x, tokens, logprobs); });
    });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("this sampler runs on a CPU stream only");
  }

  const char* name() const override { return "Sample"; }

 private:
  static void draw(const Rows& rows, int vocabulary, const float* logits, int32_t* tokens,
                   ck_logprob* logprobs) {
    auto draw_row = [&](int row) {
      rows.draw(row, logits + size_t(row) * vocabulary, vocabulary, tokens, logprobs);
    };
    if (rows.sampling.size() == 1) return draw_row(0);
    ck::Pool::shared().run(
        [&](ck::Worker& worker) { worker.for_each(int(rows.sampling.size()), draw_row); });
  }

  std::shared_ptr<const Rows> rows_;
  std::shared_ptr<cmlx::Outcome> outcome_;
};

}  // namespace

extern "C" int ck_sample(cmlx_stream stream, cmlx_array logits, const ck_sampling* rows, int count,
                         cmlx_array* tokens, cmlx_array* logprobs, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    const mx::array& x = logits->value;
    if (x.dtype() != mx::float32 || x.ndim() != 2 || x.shape(1) < 1) {
      throw std::invalid_argument("sampling needs logits of float32 [rows, vocabulary]");
    }
    if (count < 1 || x.shape(0) != count) {
      throw std::invalid_argument("sampling parameters of " + std::to_string(count) +
                                  " rows for logits of " + std::to_string(x.shape(0)));
    }
    auto checked = std::make_shared<const Rows>(rows, count, x.shape(1));
    std::vector<mx::Shape> shapes{{count}};
    std::vector<mx::Dtype> types{mx::int32};
    if (checked->logprob_count > 0) {
      shapes.push_back({checked->logprob_count, kLogprobWords});
      types.push_back(mx::int32);
    }
    mx::Stream s = stream->value;
    auto outcome = std::make_shared<cmlx::Outcome>(logits->outcome);
    auto outputs = mx::array::make_arrays(
        shapes, types, std::make_shared<SamplePrimitive>(s, std::move(checked), outcome), {x});
    cmlx_array first = cmlx::boxed(outputs[0], outcome);
    *logprobs = outputs.size() > 1 ? cmlx::boxed(outputs[1], outcome) : nullptr;
    *tokens = first;
  });
}
