#include "read_ahead.hpp"

#include <algorithm>
#include <climits>

namespace ck {
namespace {

constexpr size_t kLine = 64;
// From the start of the span that is worked on: a span in the second cache beside that one.
constexpr int kMostRuns = 2 * kSpanBlocks;

}  // namespace

ReadAhead::ReadAhead(const Schedule& schedule, const KvCache& kv, int layer,
                     std::pair<int, int> share)
    : Fetch{nullptr, 0, 0, advance},
      schedule_(schedule),
      kv_(kv),
      layer_(layer),
      record_bytes_(RecordLayout(kv.head_dim()).bytes()),
      share_(share) {}

void ReadAhead::reach(int piece, int span) {
  if (piece == reached_ || (piece == reached_ + 1 && piece < end_)) {
    runs_ -= span_runs_;
  } else {
    bool own = piece >= share_.first && piece < share_.second;
    end_ = own ? share_.second : piece + 1;
    runs_ = 0;
  }
  reached_ = piece;
  auto [first, end] = schedule_.blocks(tile(piece), span, span);
  span_runs_ = end - first;
  if (runs_ > 0) {
    if (stride == 0) next_run();
    return;
  }
  // Nothing of it is on its way.
  piece_ = piece;
  block_ = first;
  runs_ = 0;
  next_run();
  for (; lines > 0 && stride != 0; lines--, at += stride) __builtin_prefetch(at, 0, 2);
}

void ReadAhead::advance(Fetch& fetch) {
  auto& self = static_cast<ReadAhead&>(fetch);
  for (; self.lines > 0; self.lines--, self.at += self.stride) __builtin_prefetch(self.at, 0, 2);
  self.next_run();
}

/// Or the same line over and over, if none is left or enough are on their way.
void ReadAhead::next_run() {
  for (; piece_ < end_; piece_++) {
    const Piece& piece = schedule_.pieces()[piece_];
    auto [first, end] = schedule_.blocks(tile(piece_), piece.first_span, piece.last_span);
    block_ = std::max(block_, first);
    if (block_ < end) {
      if (runs_ >= kMostRuns) break;
      at = kv_.record(tile(piece_).sequence->blocks[block_], layer_, piece.kv_head);
      stride = kLine;
      lines = static_cast<int>(record_bytes_ / kLine);
      block_++;
      runs_++;
      return;
    }
    block_ = 0;
  }
  stride = 0;
  lines = INT_MAX;
}

}  // namespace ck
