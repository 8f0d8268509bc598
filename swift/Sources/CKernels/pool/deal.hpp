// Which thread does which pieces of a loop.
#ifndef CK_DEAL_HPP
#define CK_DEAL_HPP

#include <atomic>
#include <memory>
#include <utility>

namespace ck {

/// Deals the pieces of a loop to threads: each gets the next of its own contiguous share, and of
/// another's once that is used up. Threads that take neighbouring pieces in turn read memory at
/// half the speed (26 to 44 against 62 GB/s for pieces of 16 to 64 KB, 2 cores of a Zen 4 server),
/// since each core's prefetcher runs into what the other one reads; and a counter that all threads
/// write costs each piece as much as reading a few kilobytes.
class Deal {
 public:
  /// Before the threads of a loop start.
  void reset(int pieces, int threads) {
    if (threads != threads_) {
      shares_ = std::make_unique<Share[]>(threads);
      threads_ = threads;
    }
    pieces_ = pieces;
    for (int i = 0; i < threads; i++) {
      shares_[i].next = static_cast<int>(static_cast<long long>(pieces) * i / threads);
      shares_[i].end = static_cast<int>(static_cast<long long>(pieces) * (i + 1) / threads);
    }
  }

  int pieces() const { return pieces_; }

  /// Where a thread's own share starts and ends, until pieces are taken. A thread may have none:
  /// the pool may have grown since `reset`.
  std::pair<int, int> share(int thread) const {
    if (thread >= threads_) return {0, 0};
    const Share& share = shares_[thread];
    return {share.next.load(std::memory_order_relaxed), share.end};
  }

  /// What `thread` does next: each piece is given out once, and -1 when all are.
  int take(int thread) {
    for (int i = 0; i < threads_; i++) {
      Share& share = shares_[(thread + i) % threads_];
      if (share.next.load(std::memory_order_relaxed) >= share.end) continue;
      int piece = share.next.fetch_add(1, std::memory_order_relaxed);
      if (piece < share.end) return piece;
    }
    return -1;
  }

 private:
  struct alignas(64) Share {
    std::atomic<int> next;
    int end;
  };

  std::unique_ptr<Share[]> shares_;
  int threads_ = 0, pieces_ = 0;
};

}  // namespace ck

#endif  // CK_DEAL_HPP
