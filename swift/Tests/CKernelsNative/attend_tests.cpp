// attend against stock MLX attention over a float32 cache; and that the bits of a row depend on its
// sequence alone: not on the batch, the chunks, the block tables or the number of threads.
#include <algorithm>
#include <limits>
#include <numeric>

#include "handles.hpp"

namespace ck::test {
namespace {

constexpr int kMostRows = 64;
constexpr int kLayers = 2;

/// An attention and a few sequences, all of whose rows are known.
struct Model {
  ck_attention attention{};
  std::vector<float> inverse_frequencies;
  int columns = 0, out_columns = 0;
  std::vector<std::vector<float>> sequences;  // [length, columns]

  int length(size_t sequence) const {
    return static_cast<int>(sequences[sequence].size()) / columns;
  }
  int block_count() const {
    int blocks = 0;
    for (size_t i = 0; i < sequences.size(); i++) blocks += length(i) / CK_BLOCK_TOKENS + 1;
    return blocks;
  }
  std::string text() const {
    const ck_attention& a = attention;
    std::string all = test::text("heads", a.heads, "kv heads", a.kv_heads, "head size", a.head_dim,
                                 "window", a.window, "soft cap", static_cast<int>(a.soft_cap));
    for (size_t i = 0; i < sequences.size(); i++) all += ", " + test::text("length", length(i));
    return all;
  }
};

Model random_model(Random& random) {
  Model model;
  ck_attention& a = model.attention;
  a.layer = random.integer(0, kLayers - 1);
  a.head_dim = random.one_of({64, 80, 96, 128, 256, 8 * random.integer(1, 20)});
  a.kv_heads = random.integer(1, 3);
  a.heads = a.kv_heads * random.integer(1, 8);
  a.scale = 1 / std::sqrt(static_cast<float>(a.head_dim));
  a.window = random.chance(0.4) ? random.integer(1, 300) : 0;
  a.soft_cap = random.chance(0.3) ? 20 : 0;
  for (int i = 0; i < a.head_dim / 2; i++) {
    model.inverse_frequencies.push_back(std::pow(10000.0f, -2.0f * i / a.head_dim));
  }
  model.columns = (a.heads + 2 * a.kv_heads) * a.head_dim;
  model.out_columns = a.heads * a.head_dim;
  // Long contexts with few heads, short ones with many: every case takes about the same time.
  int longest = std::min(600, 300'000 / model.columns);
  int count = random.integer(1, 4);
  for (int i = 0; i < count; i++) {
    int length = random.integer(1, random.chance(0.3) ? longest : longest / 4 + 1);
    model.sequences.push_back(random.normals(size_t(length) * model.columns, 1.5));
  }
  return model;
}

/// Distinct blocks of a pool for each sequence, in no order.
std::vector<std::vector<int32_t>> random_tables(Random& random, const Model& model, int blocks) {
  std::vector<int32_t> free(blocks);
  std::iota(free.begin(), free.end(), 0);
  for (int i = blocks - 1; i > 0; i--) std::swap(free[i], free[random.integer(0, i)]);
  std::vector<std::vector<int32_t>> tables;
  for (size_t i = 0; i < model.sequences.size(); i++) {
    int count = (model.length(i) + CK_BLOCK_TOKENS - 1) / CK_BLOCK_TOKENS;
    tables.emplace_back(free.end() - count, free.end());
    free.resize(free.size() - count);
  }
  return tables;
}

/// Rows of a step: of some sequences the next few.
struct Batch {
  std::vector<ck_sequence> sequences;
  std::vector<size_t> which;  // of the model's
  std::vector<float> rows;
  int row_count = 0;
};

Batch random_batch(Random& random, const Model& model, const std::vector<int>& done,
                   const std::vector<std::vector<int32_t>>& tables) {
  Batch batch;
  for (size_t i = 0; i < model.sequences.size(); i++) {
    int left = std::min(model.length(i) - done[i], kMostRows - batch.row_count);
    if (left == 0 || random.chance(0.3)) continue;
    int count = random.chance(0.2) ? 1 : random.integer(1, left);
    batch.sequences.push_back({batch.row_count, count, done[i],
                               static_cast<int32_t>(tables[i].size()), tables[i].data()});
    batch.which.push_back(i);
    auto first = model.sequences[i].begin() + ptrdiff_t{done[i]} * model.columns;
    batch.rows.insert(batch.rows.end(), first, first + ptrdiff_t{count} * model.columns);
    batch.row_count += count;
  }
  return batch;
}

/// Our kernel with a cache of its own, or the reference with one.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual std::vector<float> run(const Batch& batch) = 0;
};

class KernelRunner : public Runner {
 public:
  KernelRunner(ck_isa isa, const Model& model, int blocks)
      : cache_(call<ck_kv*>(ck_kv_create, kLayers, model.attention.kv_heads,
                            model.attention.head_dim, blocks)),
        plan_(new_plan(isa, kMostRows, cache_.get())) {
    ck_attention attention = model.attention;
    attention.inverse_frequencies = model.inverse_frequencies.data();
    auto input = call<ck_rows>(ck_plan_input, plan_.get(), model.columns);
    call<ck_rows>(ck_plan_attend, plan_.get(), input, &attention);
  }

  std::vector<float> run(const Batch& batch) override {
    ck_step step{};
    step.row_count = batch.row_count;
    step.sequence_count = static_cast<int32_t>(batch.sequences.size());
    step.sequences = batch.sequences.data();
    step.inputs = batch.rows.data();
    return run_step(plan_.get(), step);
  }

 private:
  Cache cache_;
  Plan plan_;
};

class ReferenceRunner : public Runner {
 public:
  ReferenceRunner(const Model& model, int blocks)
      : model_(model),
        keys_(
            zeros({blocks * CK_BLOCK_TOKENS, model.attention.kv_heads, model.attention.head_dim})),
        values_(
            zeros({blocks * CK_BLOCK_TOKENS, model.attention.kv_heads, model.attention.head_dim})) {
  }

  std::vector<float> run(const Batch& batch) override {
    ck_attention attention = model_.attention;
    attention.inverse_frequencies = model_.inverse_frequencies.data();
    Array rows = array_of(batch.rows.data(), {batch.row_count, model_.columns}, CMLX_FLOAT32);
    Array out(call<cmlx_array>(ck_ref_attend, stream(), rows.get(), &attention, keys_.get(),
                               values_.get(), batch.sequences.data(),
                               static_cast<int>(batch.sequences.size())));
    return floats(out.get());
  }

 private:
  const Model& model_;
  Array keys_, values_;
};

/// The outputs of all rows of all sequences, [length, heads * head_dim] each, computed in random
/// chunks and batches.
std::vector<std::vector<float>> run_all(Random& random, const Model& model, Runner& runner,
                                        int blocks) {
  auto tables = random_tables(random, model, blocks);
  std::vector<std::vector<float>> outputs(model.sequences.size());
  std::vector<int> done(model.sequences.size(), 0);
  while (true) {
    bool all_done = true;
    for (size_t i = 0; i < done.size(); i++) all_done = all_done && done[i] == model.length(i);
    if (all_done) return outputs;
    Batch batch = random_batch(random, model, done, tables);
    if (batch.row_count == 0) continue;
    std::vector<float> out = runner.run(batch);
    for (size_t i = 0; i < batch.which.size(); i++) {
      const ck_sequence& s = batch.sequences[i];
      auto first = out.begin() + ptrdiff_t{s.first_row} * model.out_columns;
      auto& to = outputs[batch.which[i]];
      to.insert(to.end(), first, first + ptrdiff_t{s.row_count} * model.out_columns);
      done[batch.which[i]] += s.row_count;
    }
  }
}

float length_of(const float* vector, int size) {
  double squares = 0;
  for (int i = 0; i < size; i++) squares += double(vector[i]) * vector[i];
  return static_cast<float>(std::sqrt(squares));
}

/// How far the output of each row may lie from exact attention. Keys and queries are rounded to
/// 1/46000 of their length (kv/kv.hpp), sqrt(head_dim) / 2 times at most in all; a score that is
/// off by e moves the output by 2 e times the largest value; values and weights are rounded to 14
/// bits.
std::vector<float> tolerances(const Model& model, size_t sequence) {
  const ck_attention& a = model.attention;
  std::vector<float> all;
  float longest_key = 0, largest_value = 0;
  for (int row = 0; row < model.length(sequence); row++) {
    const float* q = model.sequences[sequence].data() + size_t(row) * model.columns;
    const float* k = q + a.heads * a.head_dim;
    const float* v = k + a.kv_heads * a.head_dim;
    for (int head = 0; head < a.kv_heads; head++) {
      longest_key = std::max(longest_key, length_of(k + head * a.head_dim, a.head_dim));
    }
    for (int i = 0; i < a.kv_heads * a.head_dim; i++) {
      largest_value = std::max(largest_value, std::fabs(v[i]));
    }
    for (int head = 0; head < a.heads; head++) {
      float length = length_of(q + head * a.head_dim, a.head_dim) * longest_key * a.scale;
      float score = length * std::sqrt(static_cast<float>(a.head_dim)) / 46000;
      all.insert(all.end(), a.head_dim, largest_value * (2 * score + 5e-4f));
    }
  }
  return all;
}

void attend(Round& round) {
  Random& random = round.random;
  Model model = random_model(random);
  std::string what = model.text();
  int blocks = model.block_count();

  KernelRunner kernel(round.isa, model, blocks);
  ReferenceRunner reference(model, blocks);
  auto got = run_all(random, model, kernel, blocks);
  auto wanted = run_all(random, model, reference, blocks);
  for (size_t i = 0; i < got.size(); i++) {
    expect_close(got[i], wanted[i], tolerances(model, i), what + ": " + text("sequence", i));
  }

  int threads = random.integer(1, 5), more_blocks = blocks + random.integer(0, 9);
  ck_pool_configure(threads);
  KernelRunner other(round.isa, model, more_blocks);
  auto again = run_all(random, model, other, more_blocks);
  ck_pool_configure(0);
  for (size_t i = 0; i < got.size(); i++) {
    expect_same_bits(
        again[i], got[i],
        what + ": in other chunks, batches and blocks, " + text("sequence", i, "threads", threads));
  }
}

/// A key or value that is not finite: every row that sees it has NaN in that KV head's queries, and
/// no other sequence notices.
void not_finite(Round& round) {
  Random& random = round.random;
  Model model = random_model(random);
  model.attention.window = 0;
  if (model.sequences.size() < 2) model.sequences.push_back(model.sequences[0]);
  const ck_attention& a = model.attention;
  int blocks = model.block_count();
  KernelRunner kernel(round.isa, model, blocks);
  auto before = run_all(random, model, kernel, blocks);

  int position = random.integer(0, model.length(0) - 1), bad = random.integer(0, a.kv_heads - 1);
  int column = (a.heads + random.integer(0, 1) * a.kv_heads + bad) * a.head_dim +
               random.integer(0, a.head_dim - 1);
  model.sequences[0][size_t(position) * model.columns + column] = random.one_of(
      {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()});
  KernelRunner fresh(round.isa, model, blocks);
  auto after = run_all(random, model, fresh, blocks);
  for (size_t i = 1; i < before.size(); i++) {
    expect_same_bits(after[i], before[i], model.text() + ": " + text("sequence", i));
  }
  for (int row = position; row < model.length(0); row++) {
    const float* out = after[0].data() + size_t(row) * model.out_columns;
    for (int head = 0; head < a.heads; head++) {
      bool sees = head / (a.heads / a.kv_heads) == bad;
      for (int i = 0; i < a.head_dim; i++) {
        expect(std::isnan(out[head * a.head_dim + i]) == sees,
               model.text() + ": " + text("row", row, "head", head, "bad position", position));
      }
    }
  }
}

const Register kTests = {{"attend", attend, 2}, {"attend_not_finite", not_finite}};

}  // namespace
}  // namespace ck::test
