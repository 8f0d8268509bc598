// The process's one thread pool. A step is one parallel region: every thread runs the same list of
// nodes, and inside a node the threads claim pieces of its work.
#ifndef CK_POOL_HPP
#define CK_POOL_HPP

#include <functional>

namespace ck {

class Region;

/// One thread's place in a parallel region.
class Worker {
 public:
  Worker(Region& region, int index) : region_(region), index_(index) {}

  /// 0 ..< size(); 0 is the thread that called Pool::run.
  int index() const { return index_; }
  int size() const;

  /// Runs body(piece) for every piece in 0 ..< pieces, each on some thread of the region, and
  /// returns when all are done, their writes visible to all. Every thread calls it with the same
  /// count, in the same order.
  template <class Body>
  void for_each(int pieces, Body&& body) {
    for_each_piece(
        pieces, [](void* context, int piece) { (*static_cast<std::remove_reference_t<Body>*>(context))(piece); },
        &body);
  }

 private:
  void for_each_piece(int pieces, void (*body)(void*, int), void* context);

  Region& region_;
  int index_;
  unsigned loops_ = 0;
};

class Pool {
 public:
  static Pool& shared();

  int size() const;
  /// Threads, the caller's included; 0: the machine's share. Ignored once a region has run.
  int configure(int threads);

  /// Runs body(worker) on every thread, the caller's included, and returns when all are through.
  /// An exception on any thread ends the region's other pieces and is rethrown here.
  void run(const std::function<void(Worker&)>& body);
};

}  // namespace ck

#endif  // CK_POOL_HPP
