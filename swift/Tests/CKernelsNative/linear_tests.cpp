// linear, normLinear, gatedLinear, embed and logits against compositions of stock MLX ops; and that
// the bits of a row do not depend on the other rows or on the number of threads.
#include <limits>

#include "weights.hpp"

namespace ck::test {
namespace {

constexpr int kMostRows = 64;
constexpr float kEpsilon = 1e-5f;

std::string described(const Stack& stack, int rows) {
  std::string text = test::text("rows", rows, "columns", stack.columns());
  for (auto& part : stack.parts) {
    text += ", " + std::to_string(part->rows()) + " outputs in " + part->format().name();
  }
  return text;
}

std::vector<float> tolerances(const Stack& stack, const std::vector<float>& prepared, ck_isa isa) {
  std::vector<float> all;
  for (size_t at = 0; at < prepared.size(); at += stack.columns()) {
    std::vector<float> row = product_tolerance(stack, prepared.data() + at, isa);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& weight) {
  std::vector<float> out(x.size());
  size_t columns = weight.size();
  for (size_t row = 0; row < x.size(); row += columns) {
    double squares = 0;
    for (size_t k = 0; k < columns; k++) squares += double(x[row + k]) * x[row + k];
    double factor = 1 / std::sqrt(squares / static_cast<double>(columns) + kEpsilon);
    for (size_t k = 0; k < columns; k++) {
      out[row + k] = static_cast<float>(x[row + k] * factor * weight[k]);
    }
  }
  return out;
}

/// Rows of very different sizes, some of them zero.
std::vector<float> random_rows(Random& random, int rows, int columns) {
  std::vector<float> all;
  for (int row = 0; row < rows; row++) {
    double deviation = random.chance(0.05) ? 0 : std::ldexp(1, random.integer(-10, 10));
    std::vector<float> one = random.normals(columns, deviation);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

/// The rows `first` ..< `first + count`.
std::vector<float> slice(const std::vector<float>& rows, size_t columns, int first, int count) {
  auto begin = rows.begin() + static_cast<ptrdiff_t>(first * columns);
  return {begin, begin + static_cast<ptrdiff_t>(count * columns)};
}

/// Runs some of the rows alone, with another number of threads.
void expect_invariant(Round& round, ck_plan* plan, const std::vector<float>& inputs, int rows,
                      const std::vector<float>& outputs, const std::string& what) {
  size_t in = inputs.size() / rows, out = outputs.size() / rows;
  for (int i = 0; i < 3; i++) {
    int first = round.random.integer(0, rows - 1), count = round.random.integer(1, rows - first);
    int threads = round.random.integer(1, 5);
    ck_pool_configure(threads);
    std::vector<float> some = run_rows(plan, slice(inputs, in, first, count), count);
    expect_same_bits(some, slice(outputs, out, first, count),
                     what + ": rows " + std::to_string(first) + " to " +
                         std::to_string(first + count - 1) + " alone, on " +
                         text("threads", threads));
  }
  ck_pool_configure(0);
}

int random_rows_count(Random& random) {
  return random.chance(0.3) ? 1 : random.integer(1, kMostRows);
}

void linear(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random);
  Stack stack = random_matrix(round, random.integer(1, 100), random.integer(1, 400));
  int columns = stack.columns();
  std::string what = described(stack, rows);
  std::vector<float> x = random_rows(random, rows, columns);

  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), columns);
  call<ck_rows>(ck_plan_linear, plan.get(), input, stack.packed.get(), -1);
  std::vector<float> out = run_rows(plan.get(), x, rows);

  Array x_array = array_of(x.data(), {rows, columns}, CMLX_FLOAT32);
  ck_ref_matrix matrix = stack.parts[0]->reference();
  Array reference(call<cmlx_array>(ck_ref_linear, stream(), x_array.get(), &matrix, nullptr));
  expect_close(out, floats(reference.get()), tolerances(stack, x, round.isa), what);
  expect_invariant(round, plan.get(), x, rows, out, what);
}

void residual(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random), columns = random.integer(1, 3) * 256;
  Stack stack = random_matrix(round, columns, columns);
  std::string what = described(stack, rows);
  std::vector<float> x = random_rows(random, rows, columns);

  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), columns);
  call<ck_rows>(ck_plan_linear, plan.get(), input, stack.packed.get(), input);
  std::vector<float> out = run_rows(plan.get(), x, rows);

  Array x_array = array_of(x.data(), {rows, columns}, CMLX_FLOAT32);
  ck_ref_matrix matrix = stack.parts[0]->reference();
  Array reference(call<cmlx_array>(ck_ref_linear, stream(), x_array.get(), &matrix, x_array.get()));
  expect_close(out, floats(reference.get()), tolerances(stack, x, round.isa), what);
}

void norm_linear(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random);
  Stack stack = random_stack(round, random.integer(1, 4), random.integer(1, 400), 60);
  int columns = stack.columns();
  std::string what = described(stack, rows);
  std::vector<float> x = random_rows(random, rows, columns), weight = random.normals(columns);

  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), columns);
  call<ck_rows>(ck_plan_norm_linear, plan.get(), input, weight.data(), kEpsilon,
                stack.packed.get());
  std::vector<float> out = run_rows(plan.get(), x, rows);

  Array x_array = array_of(x.data(), {rows, columns}, CMLX_FLOAT32);
  Array weight_array = array_of(weight.data(), {columns}, CMLX_FLOAT32);
  std::vector<ck_ref_matrix> parts = stack.references();
  Array reference(call<cmlx_array>(ck_ref_norm_linear, stream(), x_array.get(), weight_array.get(),
                                   kEpsilon, parts.data(), static_cast<int>(parts.size())));
  expect_close(out, floats(reference.get()), tolerances(stack, normed(x, weight), round.isa), what);
  expect_invariant(round, plan.get(), x, rows, out, what);
}

void gated_linear(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random);
  Stack stack = random_matrix(round, random.integer(1, 100), random.integer(1, 300));
  int columns = stack.columns();
  std::string what = described(stack, rows);
  std::vector<float> gate_up = random_rows(random, rows, 2 * columns);

  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), 2 * columns);
  call<ck_rows>(ck_plan_gated_linear, plan.get(), input, CK_SILU, stack.packed.get(), -1);
  std::vector<float> out = run_rows(plan.get(), gate_up, rows);

  std::vector<float> gated;
  for (int row = 0; row < rows; row++) {
    const float* gate = gate_up.data() + size_t(row) * 2 * columns;
    for (int k = 0; k < columns; k++) {
      gated.push_back(
          static_cast<float>(gate[k] / (1 + std::exp(-double(gate[k]))) * gate[columns + k]));
    }
  }
  Array array = array_of(gate_up.data(), {rows, 2 * columns}, CMLX_FLOAT32);
  ck_ref_matrix matrix = stack.parts[0]->reference();
  Array reference(
      call<cmlx_array>(ck_ref_gated_linear, stream(), array.get(), CK_SILU, &matrix, nullptr));
  expect_close(out, floats(reference.get()), tolerances(stack, gated, round.isa), what);
  expect_invariant(round, plan.get(), gate_up, rows, out, what);
}

/// embed and logits at once, as a model that is nothing else would have them: its tokens are rows
/// of the first matrix, and some of them want logits.
void embed_and_logits(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random);
  int columns = random.integer(1, 3) * 256;  // whole groups of every format
  Stack table = random_matrix(round, random.integer(1, 300), columns);
  Stack head = random_matrix(round, random.integer(1, 300), columns);
  std::string what = described(table, rows) + "; " + described(head, rows);
  std::vector<float> weight = random.normals(columns);
  std::vector<int32_t> tokens(rows), logit_rows;
  for (int& token : tokens) token = random.integer(0, table.rows() - 1);
  for (int row = 0; row < rows; row++) {
    if (random.chance(0.5) || row == rows - 1) logit_rows.push_back(row);
  }
  auto wanted = static_cast<int>(logit_rows.size());

  ck_sequence sequence{0, rows, 0, 0, nullptr};
  ck_step step{rows, 1, wanted, tokens.data(), &sequence, logit_rows.data(), nullptr};
  Array token_array = array_of(tokens.data(), {rows}, CMLX_INT32);
  Array weight_array = array_of(weight.data(), {columns}, CMLX_FLOAT32);
  ck_ref_matrix table_reference = table.parts[0]->reference();
  ck_ref_matrix head_reference = head.parts[0]->reference();
  Array embedded(call<cmlx_array>(ck_ref_embed, stream(), token_array.get(), &table_reference));

  Plan embeds = new_plan(round.isa, kMostRows);
  call<ck_rows>(ck_plan_embed, embeds.get(), table.packed.get());
  std::vector<float> got = run_step(embeds.get(), step), exact = floats(embedded.get());
  std::vector<float> rounding;
  // A K-quant's scale * q and bias are below 12 each.
  const float scales = table.parts[0]->format().is_k() ? 0x1p-11f * 24 : 0;
  for (float value : exact) rounding.push_back(1e-6f * (std::fabs(value) + 8) + scales);
  expect_close(got, exact, rounding, "embed: " + what);
  Array got_array = array_of(got.data(), {rows, columns}, CMLX_FLOAT32);
  Array logits(call<cmlx_array>(ck_ref_logits, stream(), got_array.get(), logit_rows.data(), wanted,
                                weight_array.get(), kEpsilon, &head_reference));

  Plan ends = new_plan(round.isa, kMostRows);
  auto x = call<ck_rows>(ck_plan_embed, ends.get(), table.packed.get());
  cmlx_error error{};
  expect(ck_plan_logits(ends.get(), x, weight.data(), kEpsilon, head.packed.get(), &error) == 0,
         error.message);
  std::vector<float> prepared, all = normed(got, weight);
  for (int row : logit_rows) {
    std::vector<float> one = slice(all, columns, row, 1);
    prepared.insert(prepared.end(), one.begin(), one.end());
  }
  expect_close(run_step(ends.get(), step), floats(logits.get()),
               tolerances(head, prepared, round.isa), "logits: " + what);
}

/// bfloat16 weights times what is left of a row in bfloat16, where there are instructions for that,
/// and times the row itself where there are none.
void linear_bfloat16(Round& round) {
  Random& random = round.random;
  int rows = random_rows_count(random);
  Stack stack = random_matrix(round, {CK_BFLOAT16}, random.integer(1, 100), random.integer(1, 400));
  int columns = stack.columns(), outputs = stack.rows();
  std::vector<float> x = random_rows(random, rows, columns);
  double size = std::ldexp(1, random.integer(-100, 100));
  for (float& value : x) value = static_cast<float>(random.chance(0.02) ? 1e-40 : value * size);

  std::vector<float> exact, tolerance;
  for (int row = 0; row < rows; row++) {
    for (int n = 0; n < outputs; n++) {
      double sum = 0, magnitude = 0;
      for (int k = 0; k < columns; k++) {
        double value = x[size_t(row) * columns + k],
               step = bfloat16_step(static_cast<float>(value));
        if (rounds_to_bfloat16(round.isa) && step != 0) value = std::nearbyint(value / step) * step;
        sum += value * stack.parts[0]->at(n, k);
        magnitude += std::fabs(value * stack.parts[0]->at(n, k));
      }
      exact.push_back(static_cast<float>(sum));
      tolerance.push_back(static_cast<float>(4e-6 * magnitude + 1e-37));
    }
  }
  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), columns);
  call<ck_rows>(ck_plan_linear, plan.get(), input, stack.packed.get(), -1);
  std::string what = described(stack, rows);
  std::vector<float> out = run_rows(plan.get(), x, rows);
  expect_close(out, exact, tolerance, what);
  expect_invariant(round, plan.get(), x, rows, out, what);
}

/// A row with NaN or an infinity comes out as NaN where it is quantized; other rows do not notice.
void not_finite(Round& round) {
  Random& random = round.random;
  Stack stack = random_matrix(round, random.integer(1, 100), random.integer(32, 400));
  int rows = random.integer(2, 16), columns = stack.columns();
  std::vector<float> x = random.normals(size_t(rows) * columns);
  Plan plan = new_plan(round.isa, kMostRows);
  auto input = call<ck_rows>(ck_plan_input, plan.get(), columns);
  call<ck_rows>(ck_plan_linear, plan.get(), input, stack.packed.get(), -1);
  std::vector<float> before = run_rows(plan.get(), x, rows);

  int bad = random.integer(0, rows - 1);
  float infinity = std::numeric_limits<float>::infinity();
  x[size_t(bad) * columns + random.integer(0, columns - 1)] =
      random.one_of({infinity, -infinity, std::numeric_limits<float>::quiet_NaN()});
  std::vector<float> after = run_rows(plan.get(), x, rows);
  for (int row = 0; row < rows; row++) {
    std::string what = described(stack, rows) + ": " + text("row", row, "bad row", bad);
    std::vector<float> got = slice(after, stack.rows(), row, 1);
    if (row != bad) {
      expect_same_bits(got, slice(before, stack.rows(), row, 1), what);
      continue;
    }
    for (float value : got) expect(!std::isfinite(value), what + " is finite");
  }
}

const Register kTests = {{"linear", linear, 5},
                         {"linear_bfloat16", linear_bfloat16, 5},
                         {"linear_residual", residual},
                         {"norm_linear", norm_linear, 5},
                         {"gated_linear", gated_linear, 5},
                         {"embed_logits", embed_and_logits, 5},
                         {"linear_not_finite", not_finite, 5}};

}  // namespace
}  // namespace ck::test
