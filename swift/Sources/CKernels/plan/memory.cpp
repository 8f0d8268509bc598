// Where a plan's rows lie.
#include <algorithm>
#include <stdexcept>

#include "plan.hpp"

namespace ck {

/// Few rows wait for memory, and threads for one another, so that they cost less beside a prompt's
/// rows than before them: measured up to so many.
constexpr int kMostRowsBeside = 16;

/// Rows that are needed no more give their slot to later ones: the smallest free slot that is wide
/// enough, else the widest, widened. A residual that is not read again is added in place.
std::vector<int> Plan::assign_slots() {
  std::vector<int> widths, free;
  auto take = [&](int columns) {
    auto best = free.end();
    for (auto it = free.begin(); it != free.end(); ++it) {
      if (best == free.end()) {
        best = it;
        continue;
      }
      bool fits = widths[*it] >= columns, best_fits = widths[*best] >= columns;
      bool closer = fits ? widths[*it] < widths[*best] : widths[*it] > widths[*best];
      if (fits != best_fits ? fits : closer) best = it;
    }
    if (best == free.end()) {
      widths.push_back(columns);
      return int(widths.size()) - 1;
    }
    int slot = *best;
    free.erase(best);
    widths[slot] = std::max(widths[slot], columns);
    return slot;
  };
  for (size_t i = 0; i < ops_.size(); i++) {
    const Op& op = ops_[i];
    auto ends_here = [&](ck_rows id) { return rows_[id].last_use == i; };
    bool residual_ends = op.residual >= 0 && ends_here(op.residual) &&
                         std::find(op.reads.begin(), op.reads.end(), op.residual) == op.reads.end();
    if (op.writes >= 0) {
      rows_[op.writes].slot =
          residual_ends ? rows_[op.residual].slot : take(rows_[op.writes].columns);
    }
    std::vector<ck_rows> dead = op.reads;
    if (op.residual >= 0 && !residual_ends) dead.push_back(op.residual);
    std::sort(dead.begin(), dead.end());
    dead.erase(std::unique(dead.begin(), dead.end()), dead.end());
    for (ck_rows id : dead) {
      if (ends_here(id)) free.push_back(rows_[id].slot);
    }
  }
  return widths;
}

void Plan::seal() {
  if (sealed_) return;
  if (ops_.empty()) throw std::invalid_argument("the plan has no ops");
  std::vector<int> slots = assign_slots();
  main_ = std::make_unique<Track>(rows_, slots, limits_.max_rows);
  beside_ = std::make_unique<Track>(rows_, slots, std::min(limits_.max_rows, kMostRowsBeside));
  for (Op& op : ops_) {
    for (Track* track : {main_.get(), beside_.get()}) track->add(op.make(*track));
  }
  find_layers();
  sealed_ = true;
}

size_t Plan::bytes() const { return main_->bytes() + beside_->bytes() + kept_.bytes(); }

void Plan::rest() {
  main_->rest();
  beside_->rest();
  kept_.rest();
}

}  // namespace ck
