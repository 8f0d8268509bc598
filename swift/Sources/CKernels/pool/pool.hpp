// The process's one thread pool. A step is one parallel region or a few: every thread runs the same
// list of nodes, and inside a node the threads claim pieces of its work.
#ifndef CK_POOL_HPP
#define CK_POOL_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>

#include "deal.hpp"

namespace ck {

class Region;
struct Lane;

/// Memory that a thread is going to read.
struct Ahead {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// One thread's place in a parallel region.
class Worker {
 public:
  Worker(Region& region, Lane& lane, int index) : region_(region), lane_(lane), index_(index) {}

  /// 0 is the thread that called Pool::run.
  int index() const { return index_; }
  /// Memory of this thread's own, 64-byte aligned, its contents undefined: kept from region to
  /// region and grown when needed. Throws std::bad_alloc.
  void* scratch(size_t bytes);

  /// What to bring into the caches while this thread waits for others: memory is idle then, and
  /// what follows is often bound by it.
  void expect(Ahead ahead) { ahead_ = ahead; }

  /// Runs body(piece) for every piece in 0 ..< pieces, each on some thread of the region, and
  /// returns when all are done, their writes visible to all. Every thread calls it with the same
  /// count, in the same order. A thread that comes late finds the pieces done and passes through;
  /// one that waits for others may be sent home instead of returning (see Pool::run), so what a
  /// region writes outside of pieces must be the thread's own.
  template <class Body>
  void for_each(int pieces, Body&& body) {
    for_each_piece(pieces, call<std::remove_reference_t<Body>>, untyped(body));
  }

  /// The same for pieces that are dealt. `deal` was reset before the region, and a region loops
  /// over it once.
  template <class Body>
  void for_each(Deal& deal, Body&& body) {
    for_each_dealt(deal, call<std::remove_reference_t<Body>>, untyped(body));
  }

 private:
  template <class Body>
  static void call(void* body, int piece) {
    (*static_cast<Body*>(body))(piece);
  }
  template <class Body>
  static void* untyped(Body& body) {
    return const_cast<void*>(static_cast<const void*>(&body));
  }

  void for_each_piece(int pieces, void (*body)(void*, int), void* context);
  void for_each_dealt(Deal& deal, void (*body)(void*, int), void* context);
  void finish(int pieces, long long end);
  void wait(long long end);
  void fetch_ahead();

  Region& region_;
  Lane& lane_;
  int index_;
  long long claimed_before_ = 0;  // pieces of the lane's earlier loops
  Ahead ahead_;
};

/// Threads start with the first region, sleep when there is nothing to do, and are joined when the
/// process exits or the library is unloaded. In a forked child regions run on the caller alone.
class Pool {
 public:
  static Pool& shared();

  int size() const;
  /// For a caller whose thread does nothing but compute: see placement.hpp.
  void place_caller();
  /// Threads, the caller's included; 0: the machine's share. In force from the next region on.
  int configure(int threads);

  using Body = std::function<void(Worker&)>;
  /// Runs body(worker) on the caller and on those threads that come in time, and returns when every
  /// piece is done and no other thread is inside: one that waits for pieces, awake or not, is sent
  /// home by an exception of the pool's own, which body lets through. An exception on any thread
  /// ends the region's other pieces and is rethrown here. Callers on several threads take turns.
  void run(const Body& body) { run(body, nullptr, 0); }
  /// Runs two bodies side by side, whose loops have nothing to do with one another: the last
  /// `threads` of the pool, the caller never, start with `beside`, the others with `body`, and each
  /// goes on with the other one then.
  void run(const Body& body, const Body& beside, int threads);
  /// Threads wait for a region awake for a moment, and from now on for so much longer.
  void linger(std::chrono::microseconds longer);

 private:
  Pool() = default;
};

}  // namespace ck

#endif  // CK_POOL_HPP
