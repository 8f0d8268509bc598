// Whole steps: a small model's plan, replayed in every way that a scheduler may replay it, on one
// and on several threads, and after a step that failed.
#include <thread>

#include "weights.hpp"

namespace ck::test {
namespace {

constexpr int kMostRows = 32, kVocabulary = 150, kBlocks = 12, kLength = 90;
constexpr float kEpsilon = 1e-5f;

/// Two layers of a Llama with random weights.
class Model {
 public:
  explicit Model(Round& round) : isa_(round.isa) {
    Random& random = round.random;
    attention_.head_dim = 32;
    attention_.kv_heads = random.integer(1, 2);
    attention_.heads = attention_.kv_heads * random.integer(1, 3);
    attention_.scale = 0.18f;
    for (int i = 0; i < 16; i++) frequencies_.push_back(std::pow(10000.0f, -i / 16.0f));
    int mixed = attention_.heads * attention_.head_dim;
    table_ = random_matrix(round, kVocabulary, kHidden);
    norm_ = random.normals(kHidden);
    for (Layer& layer : layers_) {
      layer.qkv = random_matrix(round, mixed + 2 * attention_.kv_heads * 32, kHidden);
      layer.o = wide_matrix(round, kHidden, mixed);
      layer.gate_up = random_matrix(round, 2 * kFeedForward, kHidden);
      layer.down = random_matrix(round, kHidden, kFeedForward);
    }
  }

  ck_isa isa() const { return isa_; }
  int kv_heads() const { return attention_.kv_heads; }

  Plan plan(ck_kv* cache) const {
    Plan plan = new_plan(isa_, kMostRows, cache);
    ck_plan* p = plan.get();
    auto h = call<ck_rows>(ck_plan_embed, p, table_.packed.get());
    ck_attention attention = attention_;
    attention.inverse_frequencies = frequencies_.data();
    for (const Layer& layer : layers_) {
      auto qkv =
          call<ck_rows>(ck_plan_norm_linear, p, h, norm_.data(), kEpsilon, layer.qkv.packed.get());
      auto mixed = call<ck_rows>(ck_plan_attend, p, qkv, &attention);
      h = call<ck_rows>(ck_plan_linear, p, mixed, layer.o.packed.get(), h);
      auto gate_up = call<ck_rows>(ck_plan_norm_linear, p, h, norm_.data(), kEpsilon,
                                   layer.gate_up.packed.get());
      h = call<ck_rows>(ck_plan_gated_linear, p, gate_up, CK_SILU, layer.down.packed.get(), h);
      attention.layer++;
    }
    cmlx_error error{};
    expect(ck_plan_logits(p, h, norm_.data(), kEpsilon, table_.packed.get(), &error) == 0,
           error.message);
    return plan;
  }

 private:
  static constexpr int kHidden = 256, kFeedForward = 256;
  struct Layer {
    Stack qkv, o, gate_up, down;
  };

  /// A matrix of exactly `columns` columns, a multiple of 32.
  static Stack wide_matrix(Round& round, int rows, int columns) {
    Stack stack = random_matrix(round, rows, columns);
    while (stack.columns() != columns) stack = random_matrix(round, rows, columns);
    return stack;
  }

  ck_isa isa_;
  ck_attention attention_{};
  std::vector<float> frequencies_, norm_;
  Stack table_;
  Layer layers_[2];
};

/// A sequence in a cache of its own.
class Sequence {
 public:
  explicit Sequence(const Model& model)
      : cache_(call<ck_kv*>(ck_kv_create, 2, model.kv_heads(), 32, kBlocks)),
        plan_(model.plan(cache_.get())) {}

  /// One lazy step, with the logits of its last row.
  Array step(const std::vector<int32_t>& tokens, cmlx_array previous = nullptr) {
    auto rows = static_cast<int32_t>(tokens.size());
    ck_sequence sequence{0, rows, position_, 3, blocks_};
    int32_t last = rows - 1;
    ck_step step{rows, 1, 1, tokens.data(), &sequence, &last, nullptr};
    Array logits(call<cmlx_array>(ck_plan_step, plan_.get(), stream(), &step, previous));
    position_ += rows;
    return logits;
  }
  void rewind(int position) { position_ = position; }

 private:
  Cache cache_;
  Plan plan_;
  int32_t position_ = 0;
  int32_t blocks_[3] = {7, 2, 5};
};

std::vector<int32_t> random_tokens(Random& random, int count) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = random.integer(0, kVocabulary - 1);
  return tokens;
}

/// Logits after each of the prompt's chunks, by the number of tokens that went in.
std::vector<float> last_logits(Random& random, const Model& model,
                               const std::vector<int32_t>& tokens) {
  Sequence sequence(model);
  Array logits;
  for (size_t at = 0; at < tokens.size();) {
    int left = static_cast<int>(tokens.size() - at);
    int count = random.integer(1, std::min(left, kMostRows));
    auto first = tokens.begin() + static_cast<ptrdiff_t>(at);
    logits = sequence.step({first, first + count});
    floats(logits.get());
    at += count;
  }
  return floats(logits.get());
}

/// The prompt's last logits, whatever the chunks and the threads.
void chunks(Round& round) {
  Model model(round);
  std::vector<int32_t> tokens = random_tokens(round.random, round.random.integer(2, kLength));
  std::vector<float> logits = last_logits(round.random, model, tokens);
  for (float value : logits) expect(std::isfinite(value), "a logit is not finite");
  for (int threads : {1, 2, 5}) {
    ck_pool_configure(threads);
    expect_same_bits(last_logits(round.random, model, tokens), logits,
                     text("tokens", static_cast<int>(tokens.size()), "threads", threads));
  }
  ck_pool_configure(0);
}

/// Greedy tokens where each step is issued before the one before has drawn its token, or after.
std::vector<int32_t> decoded(const Model& model, const std::vector<int32_t>& prompt, bool ahead) {
  Sequence sequence(model);
  ck_sampling greedy{0, 1, 0, 0, 0, -1, -1, 0, nullptr};
  std::vector<int32_t> tokens;
  Array token;
  for (int i = 0; i < 12; i++) {
    std::vector<int32_t> next = i == 0 ? prompt : std::vector<int32_t>{ahead ? -1 : tokens.back()};
    Array logits = sequence.step(next, i > 0 && ahead ? token.get() : nullptr);
    Array drawn(sampled(logits.get(), &greedy, 1));
    cmlx_error error{};
    cmlx_array handle = drawn.get();
    expect(cmlx_async_eval(&handle, 1, &error) == 0, error.message);
    if (i > 0 && ahead) tokens.push_back(integers(token.get())[0]);
    if (!ahead) tokens.push_back(integers(drawn.get())[0]);
    token = std::move(drawn);
  }
  if (ahead) tokens.push_back(integers(token.get())[0]);
  return tokens;
}

void decode_ahead(Round& round) {
  Model model(round);
  std::vector<int32_t> prompt = random_tokens(round.random, round.random.integer(1, kMostRows));
  expect(decoded(model, prompt, true) == decoded(model, prompt, false),
         "steps issued ahead draw other tokens");
}

/// Two threads, each with a model, a cache and a stream of its own, share the pool.
void two_engines(Round& round) {
  Model first(round), second(round);
  std::vector<int32_t> prompt = random_tokens(round.random, 20);
  std::vector<int32_t> alone = decoded(first, prompt, true), other = decoded(second, prompt, true);
  std::vector<int32_t> got;
  std::string problem;
  std::thread beside([&] {
    try {
      for (int i = 0; i < 3; i++) {
        expect(decoded(second, prompt, true) == other, "the second engine draws other tokens");
      }
    } catch (const std::exception& e) {
      problem = e.what();
    }
  });
  try {
    for (int i = 0; i < 3; i++) {
      ck_pool_configure(1 + i);
      got = decoded(first, prompt, true);
      if (got != alone) break;
    }
  } catch (...) {
    beside.join();
    throw;
  }
  beside.join();
  ck_pool_configure(0);
  expect(got == alone, "the first engine draws other tokens");
  expect(problem.empty(), problem);
}

/// A token that the step before cannot have drawn is an error of that step alone.
void failed_step(Round& round) {
  Model model(round);
  std::vector<int32_t> tokens = random_tokens(round.random, 10);
  Sequence sequence(model);
  floats(sequence.step({tokens.begin(), tokens.end() - 1}).get());
  int32_t far = kVocabulary + round.random.integer(0, 100);
  Array drawn = array_of(&far, {1}, CMLX_INT32);
  Array broken = sequence.step({-1}, drawn.get());
  cmlx_error error{};
  cmlx_array handle = broken.get();
  expect(cmlx_eval(&handle, 1, &error) != 0, "a token beyond the vocabulary was embedded");
  expect(std::string(error.message).find("vocabulary") != std::string::npos, error.message);
  sequence.rewind(9);
  expect_same_bits(floats(sequence.step({tokens.back()}).get()),
                   last_logits(round.random, model, tokens), "after a failed step");
}

const Register kTests = {{"step_chunks", chunks},
                         {"step_decode_ahead", decode_ahead},
                         {"step_two_engines", two_engines},
                         {"step_failed", failed_step}};

}  // namespace
}  // namespace ck::test
