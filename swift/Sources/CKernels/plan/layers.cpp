// A plan's replay. Some rows of a step may pass through some of its layers alone, and go on in a
// later step: layered prefill (Lee et al., 2025, arXiv:2510.08055).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "plan.hpp"

namespace ck {
namespace {

// While a step is handed out, threads have nothing to do. After steps of 10 ms and more it costs
// little that they stay awake: a processor that goes idle may be gone for milliseconds where it is
// a host's virtual one, and the step is late for whoever waits for it.
constexpr auto kLinger = std::chrono::microseconds(200);

/// The two halves of a step with a part, each a step of its own.
class Halves {
 public:
  Halves(const Step& step, const PlanLimits& limits) : others(step), part(step) {
    const int first = others.rows -= step.part.rows;
    auto of_part = [&](const ck_sequence& s) { return s.first_row >= first; };
    const ck_sequence* sequences_end = step.sequences + step.sequence_count;
    sequences_.assign(std::find_if(step.sequences, sequences_end, of_part), sequences_end);
    for (ck_sequence& sequence : sequences_) sequence.first_row -= first;
    const int32_t* logits_end = step.logit_rows + step.logit_count;
    logit_rows_.assign(std::lower_bound(step.logit_rows, logits_end, first), logits_end);
    for (int32_t& row : logit_rows_) row -= first;
    others.sequence_count -= int(sequences_.size());
    others.logit_count -= int(logit_rows_.size());

    part.rows = step.part.rows;
    part.sequences = sequences_.data();
    part.sequence_count = int(sequences_.size());
    part.logit_rows = logit_rows_.data();
    part.logit_count = int(logit_rows_.size());
    part.positions += first;
    if (limits.vocabulary > 0) part.tokens += first;
    if (limits.input_columns > 0) part.inputs += size_t(first) * limits.input_columns;
    const int outputs = limits.ends_in_logits ? others.logit_count : first;
    part.output += size_t(outputs) * limits.output_columns;
  }

  Step others, part;

 private:
  std::vector<ck_sequence> sequences_;
  std::vector<int32_t> logit_rows_;
};

/// How many of a step's threads are to start with the others: as large a share as theirs of the
/// work is, where a pass over the weights costs as much as four rows.
int threads_beside(const Halves& halves, int layers) {
  const Part& of = halves.part.part;
  const double others = double(halves.others.rows + 4) * layers;
  const double part = double(of.rows) * (of.end_layer - of.first_layer);
  const int threads = halves.part.threads;
  return std::clamp(int(std::lround(threads * others / (others + part))), 1, threads - 1);
}

}  // namespace

/// The rows that ops from `op` on read of those before it, or -1 if these are several.
ck_rows Plan::only_result_before(size_t op) const {
  ck_rows only = -1;
  for (size_t i = 0; i < op; i++) {
    ck_rows made = ops_[i].writes;
    if (made < 0 || rows_[made].last_use < op) continue;
    if (only >= 0) return -1;
    only = made;
  }
  return only;
}

void Plan::find_layers() {
  size_t cut = 0;
  ck_rows at_cut = -1;
  bool attended = false;  // before the cut, and in the layer
  bool attends = false;   // after it
  for (size_t i = 1; i < ops_.size(); i++) {
    if (ck_rows only = only_result_before(i); only >= 0) {
      std::tie(cut, at_cut) = std::pair(i, only);
      attended = attended || std::exchange(attends, false);
    }
    if (!ops_[i].attends) continue;
    if (attended) layers_.push_back({cut, at_cut});
    attended = false;
    attends = true;
  }
  layers_.push_back({ops_.size(), ops_.back().writes});
  size_t bytes = 0;
  for (size_t i = 0; i + 1 < layers_.size(); i++) {
    bytes = std::max(bytes, rows_[layers_[i].out].columns * sizeof(float));
  }
  kept_.reserve(bytes * limits_.max_rows);
}

/// Where the rows of a part lie that is before `layer`.
std::span<float> Plan::rows_before(int layer, const Step& part) const {
  RowBuffer rows = main_->buffer(layers_[layer - 1].out);
  return {rows.data, size_t(part.rows) * rows.columns};
}

void Plan::take_up(const Step& part) const {
  if (part.part.first_layer == 0) return;
  std::span<float> rows = rows_before(part.part.first_layer, part);
  std::memcpy(rows.data(), kept_.data(), rows.size_bytes());
}

void Plan::keep(const Step& part) const {
  if (part.part.end_layer == layers()) return;
  std::span<float> rows = rows_before(part.part.end_layer, part);
  std::memcpy(kept_.data(), rows.data(), rows.size_bytes());
}

/// What comes out of a pass to the end; logits are written where they belong.
void Plan::give(const Track& track, const Step& step) const {
  if (limits_.ends_in_logits) return;
  RowBuffer last = track.buffer(ops_.back().writes);
  std::memcpy(step.output, last.data, size_t(step.rows) * last.columns * sizeof(float));
}

void Plan::run(const Step& step) {
  Pool& pool = Pool::shared();
  pool.linger(step.part.rows == 0 ? std::chrono::microseconds(0) : kLinger);
  if (step.part.rows > 0) return run_halves(step);
  pool.run(Pass(*main_, step, 0, ops_.size()));
  give(*main_, step);
}

void Plan::run_halves(const Step& step) {
  Pool& pool = Pool::shared();
  Halves halves(step, limits_);
  const Step& part = halves.part;
  Step& others = halves.others;
  const size_t first = first_op(step.part.first_layer), end = first_op(step.part.end_layer);
  if (step.threads > 1 && others.rows > 0 && others.rows <= beside_->max_rows()) {
    take_up(part);
    others.threads = threads_beside(halves, layers());
    pool.run(Pass(*main_, part, first, end), Pass(*beside_, others, 0, ops_.size()),
             others.threads);
    give(*beside_, others);
  } else {
    if (others.rows > 0) {
      pool.run(Pass(*main_, others, 0, ops_.size()));
      give(*main_, others);
    }
    take_up(part);
    pool.run(Pass(*main_, part, first, end));
  }
  keep(part);
  if (step.part.end_layer == layers()) give(*main_, part);
}

}  // namespace ck
