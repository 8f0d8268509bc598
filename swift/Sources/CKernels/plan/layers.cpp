// A plan's replay. Some rows of a step may pass through some of its layers alone, and go on in a
// later step: layered prefill (Lee et al., 2025, arXiv:2510.08055).
#include <algorithm>
#include <chrono>
#include <cstring>
#include <tuple>
#include <utility>

#include "plan.hpp"

namespace ck {

// While a step is handed out, threads have nothing to do. After steps of 10 ms and more it costs
// little that they stay awake: a processor that goes idle may be gone for milliseconds where it is
// a host's virtual one, and the step is late for whoever waits for it.
constexpr auto kLinger = std::chrono::microseconds(200);

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

/// The rows of the part, before `layer`.
std::span<float> Plan::part_rows(const Step& step, int layer) const {
  RowBuffer rows = buffer(layers_[layer - 1].out);
  const size_t columns = rows.columns, count = step.part.rows;
  return {rows.data + (step.rows - count) * columns, count * columns};
}

void Plan::pass(const Step& step, size_t first_op, size_t end_op) {
  if (first_op == end_op || step.rows == 0) return;
  const size_t shared = nodes_.size() - ops_.size(), count = shared + end_op - first_op;
  auto node = [&](size_t i) -> Node& { return *nodes_[i < shared ? i : first_op + i]; };
  for (size_t i = 0; i < count; i++) node(i).prepare(step);
  Pool::shared().run([&](Worker& worker) {
    for (size_t i = 0; i < count; i++) {
      worker.expect(i + 1 < count ? node(i + 1).ahead(worker.index()) : Ahead());
      node(i).run(worker, step);
    }
  });
}

void Plan::run(const Step& step) {
  const Part& part = step.part;
  Pool::shared().linger(part.rows == 0 ? std::chrono::microseconds(0) : kLinger);
  if (part.rows == 0) {
    pass(step, 0, ops_.size());
  } else {
    Step others = step;
    others.rows -= part.rows;
    while (others.sequence_count > 0 &&
           others.sequences[others.sequence_count - 1].first_row >= others.rows) {
      others.sequence_count--;
    }
    const size_t first = first_op(part.first_layer), end = first_op(part.end_layer);
    pass(others, 0, first);
    if (part.first_layer > 0) {
      std::span<float> rows = part_rows(step, part.first_layer);
      std::memcpy(rows.data(), kept_.data(), rows.size_bytes());
    }
    pass(step, first, end);
    if (part.end_layer < layers()) {
      std::span<float> rows = part_rows(step, part.end_layer);
      std::memcpy(kept_.data(), rows.data(), rows.size_bytes());
    }
    pass(others, end, ops_.size());
  }
  if (limits_.ends_in_logits) return;
  RowBuffer last = buffer(ops_.back().writes);
  std::memcpy(step.output, last.data, size_t(step.rows) * last.columns * sizeof(float));
}

}  // namespace ck
