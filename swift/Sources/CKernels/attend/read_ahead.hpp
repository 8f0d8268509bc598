// What a thread is going to read of the KV cache: records in the order of its pieces, fetched by
// kernels while they work, at a distance that no phase of the work changes (docs/cpu.md).
#ifndef CK_READ_AHEAD_HPP
#define CK_READ_AHEAD_HPP

#include <utility>

#include "../kv/kv.hpp"
#include "kernels.hpp"
#include "schedule.hpp"

namespace ck {

/// One thread's, for one layer of a step. Fetches the pieces of its share one after another, and of
/// a piece that it takes from another thread's share no more than that.
class ReadAhead : public Fetch {
 public:
  /// share: of the schedule's pieces, the thread's first and the one after its last.
  ReadAhead(const Schedule& schedule, const KvCache& kv, int layer, std::pair<int, int> share);

  /// To be called when the thread starts with a span of a piece, all of which its kernels may
  /// fetch.
  void reach(int piece, int span);

 private:
  static void advance(Fetch& fetch);
  void next_run();
  const Tile& tile(int piece) const { return schedule_.tiles()[schedule_.pieces()[piece].tile]; }

  const Schedule& schedule_;
  const KvCache& kv_;
  const int layer_;
  const size_t record_bytes_;
  const std::pair<int, int> share_;
  int end_ = 0;                // of the pieces that are fetched
  int piece_ = 0, block_ = 0;  // the run that is fetched next
  int reached_ = -2;           // the piece that the thread works on
  int span_runs_ = 0;          // of the span that it works on
  int runs_ = 0;               // that were begun, from that span's on
};

}  // namespace ck

#endif  // CK_READ_AHEAD_HPP
