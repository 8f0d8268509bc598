// What a plan's ops need to work on a step: memory and nodes. Steps that run side by side have a
// track each.
#ifndef CK_TRACK_HPP
#define CK_TRACK_HPP

#include <memory>
#include <vector>

#include "../attend/rotary.hpp"
#include "../attend/schedule.hpp"
#include "../linear/scratch.hpp"
#include "node.hpp"

namespace ck {

/// Rows between two ops, and the slot of memory they lie in.
struct Rows {
  int columns;
  int slot = -1;
  size_t last_use = 0;  // the last op that reads them
};

class Track {
 public:
  /// rows: the plan's, which outlive the track. slots: columns of each.
  Track(const std::vector<Rows>& rows, const std::vector<int>& slots, int max_rows);
  Track(const Track&) = delete;
  Track& operator=(const Track&) = delete;

  // What ops make their nodes of.
  int max_rows() const { return max_rows_; }
  RowBuffer buffer(ck_rows id) const;
  Scratch& scratch() { return scratch_; }
  std::shared_ptr<Rotary> rotary_for(const ck_attention& attention);
  std::shared_ptr<Schedule> schedule_for(const ck_attention& attention);
  /// The next op's.
  void add(std::shared_ptr<Node> node) { nodes_.push_back(std::move(node)); }

  size_t bytes() const;
  /// Gives the memory of rows and scratch space back until the next step.
  void rest();

 private:
  friend class Pass;
  const std::vector<Rows>& rows_;
  int max_rows_;
  std::vector<Scratch> slots_;
  Scratch scratch_;
  std::vector<std::shared_ptr<Rotary>> rotaries_;
  std::vector<std::shared_ptr<Schedule>> schedules_;
  std::vector<std::shared_ptr<Node>> shared_;  // of ops: they run before any of these
  std::vector<std::shared_ptr<Node>> nodes_;   // one for each op
};

/// Some ops of a track, on a step, which has rows. Prepares their nodes; the step outlives it.
class Pass {
 public:
  Pass(Track& track, const Step& step, size_t first_op, size_t end_op);
  /// On each thread of a region.
  void operator()(Worker& worker) const;

 private:
  Node& node(size_t index) const;

  Track& track_;
  const Step& step_;
  size_t first_op_, count_;  // shared nodes are counted
};

}  // namespace ck

#endif  // CK_TRACK_HPP
