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

/// Two sequences of one plan: one decodes, the other's prompt passes through the layers beside it.
class Pair {
 public:
  explicit Pair(const Model& model)
      : cache_(call<ck_kv*>(ck_kv_create, 2, model.kv_heads(), 32, kBlocks)),
        plan_(model.plan(cache_.get())) {
    expect(call<int>(ck_plan_layers, plan_.get()) == 2, "the model has two layers");
  }

  /// The decoding sequence's next token, beside rows of the other that pass through layers
  /// first ..< end; none: beside nothing. Logits of the token, and of the last row if it ends.
  ck_step step(int32_t token, const std::vector<int32_t>& beside, int first, int end) {
    auto rows = static_cast<int32_t>(beside.size());
    tokens_ = {token};
    tokens_.insert(tokens_.end(), beside.begin(), beside.end());
    sequences_[0] = {0, 1, position_, 3, blocks_[0]};
    sequences_[1] = {1, rows, 0, 3, blocks_[1]};
    logit_rows_[1] = rows;
    ck_step step{};
    step.row_count = 1 + rows;
    step.sequence_count = rows > 0 ? 2 : 1;
    step.logit_count = rows > 0 && end == 2 ? 2 : 1;
    step.tokens = tokens_.data();
    step.sequences = sequences_;
    step.logit_rows = logit_rows_;
    step.part_count = rows;
    step.part_first = first;
    step.part_end = end;
    return step;
  }
  std::vector<float> run(const ck_step& step) {
    position_++;
    return run_step(plan_.get(), step);
  }
  void rest() { ck_plan_rest(plan_.get()); }
  std::string refused(const ck_step& step) {
    return refusal<cmlx_array>(ck_plan_step, plan_.get(), stream(), &step, nullptr);
  }

 private:
  Cache cache_;
  Plan plan_;
  int32_t position_ = 0;
  int32_t blocks_[2][3] = {{7, 2, 5}, {1, 9, 4}};
  std::vector<int32_t> tokens_;
  ck_sequence sequences_[2];
  int32_t logit_rows_[2] = {0, 0};
};

std::vector<int32_t> random_tokens(Random& random, int count) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = random.integer(0, kVocabulary - 1);
  return tokens;
}

std::vector<float> joined(std::vector<float> first, const std::vector<float>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
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

/// Rows that pass through some layers a step, beside others, come out as they do alone, whatever
/// the threads.
void parts(Round& round) {
  Model model(round);
  std::vector<int32_t> decoding = random_tokens(round.random, 4);
  std::vector<int32_t> prompt = random_tokens(round.random, round.random.integer(1, kMostRows - 1));
  Sequence first(model), second(model);
  std::vector<std::vector<float>> alone;
  for (int32_t token : decoding) alone.push_back(floats(first.step({token}).get()));
  alone.back() = joined(alone.back(), floats(second.step(prompt).get()));
  for (int threads : {1, 2, 5}) {
    ck_pool_configure(threads);
    Pair pair(model);
    expect_same_bits(pair.run(pair.step(decoding[0], {}, 0, 0)), alone[0], "before");
    expect_same_bits(pair.run(pair.step(decoding[1], prompt, 0, 1)), alone[1], "the first layer");
    // What the plan keeps lasts.
    expect_same_bits(pair.run(pair.step(decoding[2], {}, 0, 0)), alone[2], "between");
    expect_same_bits(pair.run(pair.step(decoding[3], prompt, 1, 2)), alone[3], "the second layer");
  }
  ck_pool_configure(0);
}

void bad_parts(Round& round) {
  Model model(round);
  std::vector<int32_t> prompt = random_tokens(round.random, 3);
  Pair pair(model);
  auto expect_refused = [&](const ck_step& step, const std::string& words) {
    std::string message = pair.refused(step);
    expect(message.find(words) != std::string::npos, message);
  };
  ck_step step = pair.step(1, prompt, 0, 1);
  step.part_count = 2;
  expect_refused(step, "its part starts at row 2, in the middle of a sequence");
  step.part_count = 5;
  expect_refused(step, "a part of 5 of its 4 rows");
  for (int32_t count : {-1, INT32_MIN}) {
    step.part_count = count;
    expect_refused(step, "a part of " + std::to_string(count) + " of its 4 rows");
  }
  expect_refused(pair.step(1, prompt, 1, 1), "layers 1 ..< 1 of 2");
  expect_refused(pair.step(1, prompt, 0, 3), "layers 0 ..< 3 of 2");
  expect_refused(pair.step(1, prompt, -1, 1), "layers -1 ..< 1 of 2");
  expect_refused(pair.step(1, prompt, 1, 2), "the plan keeps 0 rows at layer 0");
  step = pair.step(1, prompt, 0, 1);
  step.logit_count = 2;
  expect_refused(step, "do not pass through the last layer");
  pair.run(pair.step(1, prompt, 0, 1));
  expect_refused(pair.step(1, {1, 2}, 1, 2), "2 rows goes on from layer 1, and the plan keeps 3");
  pair.run(pair.step(1, prompt, 1, 2));
  expect_refused(pair.step(1, prompt, 1, 2), "the plan keeps 0 rows");
  pair.run(pair.step(1, prompt, 0, 1));
  pair.rest();
  expect_refused(pair.step(1, prompt, 1, 2), "the plan keeps 0 rows");
}

constexpr ck_sampling kGreedy{0, 1, 0, 0, 0, -1, -1, 0, nullptr};

/// Greedy tokens where each step is issued before the one before has drawn its token, or after.
std::vector<int32_t> decoded(const Model& model, const std::vector<int32_t>& prompt, bool ahead) {
  Sequence sequence(model);
  std::vector<int32_t> tokens;
  Array token;
  for (int i = 0; i < 12; i++) {
    std::vector<int32_t> next = i == 0 ? prompt : std::vector<int32_t>{ahead ? -1 : tokens.back()};
    Array logits = sequence.step(next, i > 0 && ahead ? token.get() : nullptr);
    Array drawn(sampled(logits.get(), &kGreedy, 1));
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

/// A token that the step before cannot have drawn is an error of that step, and of one that goes on
/// from it. More often than ten times: MLX loses count of tasks that throw on its thread.
void failed_step(Round& round) {
  Model model(round);
  std::vector<int32_t> tokens = random_tokens(round.random, 10);
  Sequence sequence(model);
  floats(sequence.step({tokens.begin(), tokens.end() - 1}).get());
  for (int i = 0; i < 12; i++) {
    int32_t far = kVocabulary + round.random.integer(0, 100);
    Array given = array_of(&far, {1}, CMLX_INT32);
    Array broken = sequence.step({-1}, given.get());
    Array drawn = sampled(broken.get(), &kGreedy, 1);
    Array after = sequence.step({-1}, drawn.get());
    for (cmlx_array handle : {after.get(), drawn.get(), broken.get()}) {
      cmlx_error error{};
      expect(cmlx_eval(&handle, 1, &error) != 0, "a token beyond the vocabulary was embedded");
      expect(std::string(error.message).find("vocabulary") != std::string::npos, error.message);
    }
    sequence.rewind(9);
  }
  expect_same_bits(floats(sequence.step({tokens.back()}).get()),
                   last_logits(round.random, model, tokens), "after a failed step");
}

const Register kTests = {{"step_chunks", chunks},           {"step_parts", parts},
                         {"step_bad_parts", bad_parts},     {"step_decode_ahead", decode_ahead},
                         {"step_two_engines", two_engines}, {"step_failed", failed_step}};

}  // namespace
}  // namespace ck::test
