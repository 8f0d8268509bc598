#include "track.hpp"

#include "../kv/kv.hpp"

namespace ck {

Track::Track(const std::vector<Rows>& rows, const std::vector<int>& slots, int max_rows)
    : rows_(rows), max_rows_(max_rows) {
  for (int columns : slots) {
    slots_.emplace_back().reserve(size_t(columns) * max_rows * sizeof(float));
  }
}

RowBuffer Track::buffer(ck_rows id) const {
  return {reinterpret_cast<float*>(slots_[rows_[id].slot].data()), rows_[id].columns};
}

std::shared_ptr<Rotary> Track::rotary_for(const ck_attention& a) {
  for (auto& rotary : rotaries_) {
    if (rotary->has(a.inverse_frequencies, a.head_dim)) return rotary;
  }
  rotaries_.push_back(std::make_shared<Rotary>(a.inverse_frequencies, a.head_dim, max_rows_));
  shared_.push_back(rotaries_.back());
  return rotaries_.back();
}

std::shared_ptr<Schedule> Track::schedule_for(const ck_attention& a) {
  AttendGeometry geometry{a.heads, a.kv_heads, RecordLayout(a.head_dim).width, a.window};
  for (auto& schedule : schedules_) {
    if (schedule->geometry() == geometry) return schedule;
  }
  schedules_.push_back(std::make_shared<Schedule>(geometry));
  shared_.push_back(schedules_.back());
  return schedules_.back();
}

size_t Track::bytes() const {
  size_t bytes = scratch_.bytes();
  for (const Scratch& slot : slots_) bytes += slot.bytes();
  for (auto& node : shared_) bytes += node->scratch_bytes();
  for (auto& node : nodes_) bytes += node->scratch_bytes();
  return bytes;
}

void Track::rest() {
  scratch_.rest();
  for (Scratch& slot : slots_) slot.rest();
  for (auto& node : shared_) node->rest();
  for (auto& node : nodes_) node->rest();
}

Pass::Pass(Track& track, const Step& step, size_t first_op, size_t end_op)
    : track_(track),
      step_(step),
      first_op_(first_op),
      count_(track.shared_.size() + end_op - first_op) {
  for (size_t i = 0; i < count_; i++) node(i).prepare(step);
}

Node& Pass::node(size_t index) const {
  const size_t shared = track_.shared_.size();
  return index < shared ? *track_.shared_[index] : *track_.nodes_[first_op_ + index - shared];
}

void Pass::operator()(Worker& worker) const {
  for (size_t i = 0; i < count_; i++) {
    worker.expect(i + 1 < count_ ? node(i + 1).ahead(worker.index()) : Ahead());
    node(i).run(worker, step_);
  }
}

}  // namespace ck
