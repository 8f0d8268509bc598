#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "../attend/attend.hpp"
#include "../attend/kernels.hpp"
#include "../embed/embed.hpp"
#include "../gated_linear/gated_linear.hpp"
#include "../linear/linear.hpp"
#include "../linear/matrix.hpp"
#include "../logits/logits.hpp"
#include "../norm_linear/norm_linear.hpp"
#include "input.hpp"

namespace ck {
namespace {

constexpr ck_rows kNone = -1;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

/// The optional weight of a norm, copied: shared, since recorded ops are copyable.
std::shared_ptr<std::vector<float>> copied(const float* weight, int columns) {
  if (weight == nullptr) return nullptr;
  return std::make_shared<std::vector<float>>(weight, weight + columns);
}

void check(const ck_attention& a, const KvCache* kv) {
  if (kv == nullptr) refuse("an attention needs a plan with a KV cache");
  if (a.layer < 0 || a.layer >= kv->layers()) {
    refuse("layer " + std::to_string(a.layer) + " of an attention is not among the KV cache's " +
           std::to_string(kv->layers()));
  }
  if (a.kv_heads != kv->kv_heads() || a.head_dim != kv->head_dim()) {
    refuse("an attention of " + std::to_string(a.kv_heads) + " KV heads of size " +
           std::to_string(a.head_dim) + " does not fit a KV cache of " +
           std::to_string(kv->kv_heads()) + " of size " + std::to_string(kv->head_dim()));
  }
  if (a.heads <= 0 || a.heads % a.kv_heads != 0) {
    refuse(std::to_string(a.heads) + " query heads are no multiple of " +
           std::to_string(a.kv_heads) + " KV heads");
  }
  if (a.window < 0) refuse("an attention's window must not be negative");
  if (!std::isfinite(a.scale)) refuse("an attention's scale must be finite");
  if (!std::isfinite(a.soft_cap) || a.soft_cap < 0) {
    refuse("an attention's soft cap must be finite and not negative");
  }
  if (a.inverse_frequencies == nullptr) refuse("an attention needs its inverse frequencies");
}

}  // namespace

Plan::Plan(ck_isa isa, int max_rows, std::shared_ptr<KvCache> kv) : isa_(isa), kv_(std::move(kv)) {
  if (!ck_isa_supported(isa)) {
    refuse("this machine does not run instruction set " + std::to_string(isa));
  }
  if (max_rows < 1 || max_rows > 1 << 20) {
    refuse("a plan's rows must be 1 to 1048576, not " + std::to_string(max_rows));
  }
  limits_.max_rows = max_rows;
}

const Rows& Plan::rows(ck_rows id, const char* what) const {
  if (id < 0 || id >= int(rows_.size())) {
    refuse(std::string(what) + ": the plan has no rows " + std::to_string(id));
  }
  return rows_[id];
}

void Plan::expect(ck_rows id, int columns, const char* what) const {
  if (rows(id, what).columns != columns) {
    refuse(std::string(what) + ": " + std::to_string(columns) +
           " columns are needed, and the rows have " + std::to_string(rows_[id].columns));
  }
}

void Plan::expect(const ck_matrix& matrix) const {
  if (matrix.isa != isa_) {
    refuse("a matrix was packed for instruction set " + std::to_string(matrix.isa) +
           ", the plan is for " + std::to_string(isa_));
  }
}

ck_rows Plan::record(std::vector<ck_rows> reads, ck_rows residual, int columns, Make make) {
  if (sealed_) refuse("the plan has been used: nothing can be added to it");
  if (limits_.ends_in_logits) refuse("the plan has ended in logits: nothing can be added to it");
  size_t op = ops_.size();
  for (ck_rows id : reads) rows_[id].last_use = op;
  if (residual != kNone) rows_[residual].last_use = op;
  ck_rows out = kNone;
  if (columns > 0) {
    out = ck_rows(rows_.size());
    rows_.push_back({columns});
    limits_.output_columns = columns;
  }
  ops_.push_back({std::move(reads), residual, out, std::move(make)});
  return out;
}

ck_rows Plan::input(int columns) {
  if (columns < 1) refuse("a plan's input needs at least one column");
  if (limits_.input_columns > 0) refuse("the plan has an input already");
  ck_rows out = ck_rows(rows_.size());
  record({}, kNone, columns, [=](Track& t) { return std::make_shared<Input>(t.buffer(out)); });
  limits_.input_columns = columns;
  return out;
}

ck_rows Plan::embed(const ck_matrix& table) {
  expect(table);
  ck_rows out = ck_rows(rows_.size());
  record({}, kNone, table.columns,
         [=, &table](Track& t) { return make_embed(table, t.buffer(out)); });
  limits_.vocabulary =
      limits_.vocabulary == 0 ? table.rows : std::min(limits_.vocabulary, int(table.rows));
  return out;
}

ck_rows Plan::norm_linear(ck_rows x, const float* weight, float epsilon, const ck_matrix& matrix) {
  expect(matrix);
  expect(x, matrix.columns, "normLinear");
  ck_rows out = ck_rows(rows_.size());
  auto norm = copied(weight, matrix.columns);
  return record({x}, kNone, matrix.rows, [=, &matrix](Track& t) {
    return make_norm_linear(t.buffer(x), norm ? norm->data() : nullptr, epsilon, matrix,
                            t.buffer(out), t.max_rows(), t.scratch());
  });
}

ck_rows Plan::attend(ck_rows qkv, const ck_attention& a) {
  check(a, kv_.get());
  if (attend_kernels(isa_) == nullptr) {
    refuse("there is no attention for instruction set " + std::to_string(isa_));
  }
  long long columns = (a.heads + 2ll * a.kv_heads) * a.head_dim;
  if (columns > INT32_MAX) refuse("an attention's rows are too wide");
  expect(qkv, int(columns), "attend");
  auto frequencies = copied(a.inverse_frequencies, a.head_dim / 2);
  ck_rows out = ck_rows(rows_.size());
  limits_.attends = true;
  record({qkv}, kNone, a.heads * a.head_dim, [=, this](Track& t) {
    ck_attention attention = a;
    attention.inverse_frequencies = frequencies->data();
    return make_attend(isa_, t.buffer(qkv), attention, kv_, t.rotary_for(attention),
                       t.schedule_for(attention), t.buffer(out));
  });
  ops_.back().attends = true;
  return out;
}

ck_rows Plan::linear(ck_rows x, const ck_matrix& matrix, ck_rows residual) {
  expect(matrix);
  expect(x, matrix.columns, "linear");
  if (residual != kNone) expect(residual, matrix.rows, "linear's residual");
  ck_rows out = ck_rows(rows_.size());
  return record({x}, residual, matrix.rows, [=, &matrix](Track& t) {
    RowBuffer added = residual == kNone ? RowBuffer{} : t.buffer(residual);
    return make_linear(t.buffer(x), matrix, residual == kNone ? nullptr : &added, t.buffer(out),
                       t.max_rows(), t.scratch());
  });
}

ck_rows Plan::gated_linear(ck_rows gate_up, ck_activation activation, const ck_matrix& matrix,
                           ck_rows residual) {
  expect(matrix);
  if (activation != CK_SILU) refuse("unknown activation " + std::to_string(activation));
  if (matrix.columns > INT32_MAX / 2) refuse("gatedLinear's rows are too wide");
  expect(gate_up, 2 * matrix.columns, "gatedLinear");
  if (residual != kNone) expect(residual, matrix.rows, "gatedLinear's residual");
  ck_rows out = ck_rows(rows_.size());
  return record({gate_up}, residual, matrix.rows, [=, &matrix](Track& t) {
    RowBuffer added = residual == kNone ? RowBuffer{} : t.buffer(residual);
    return make_gated_linear(t.buffer(gate_up), activation, matrix,
                             residual == kNone ? nullptr : &added, t.buffer(out), t.max_rows(),
                             t.scratch());
  });
}

void Plan::logits(ck_rows x, const float* weight, float epsilon, const ck_matrix& matrix) {
  expect(matrix);
  expect(x, matrix.columns, "logits");
  auto norm = copied(weight, matrix.columns);
  record({x}, kNone, 0, [=, &matrix](Track& t) {
    return make_logits(t.buffer(x), norm ? norm->data() : nullptr, epsilon, matrix, t.max_rows(),
                       t.scratch());
  });
  limits_.ends_in_logits = true;
  limits_.output_columns = matrix.rows;
}

}  // namespace ck
