#include "pool.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "../include/ckernels.h"
#include "placement.hpp"
#include "share.hpp"

namespace ck {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between the loops of a step; a processor that another process wants
// is given up after it.
constexpr auto kSpin = std::chrono::microseconds(50);
std::atomic<std::chrono::microseconds> awake{kSpin};  // while there is no region
constexpr int kMostThreads = 1024;
constexpr int kPausesPerLook = 32;  // a look at the clock costs about as much

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/// Whether `done` came true within `time`.
template <class Done>
bool spin_until(Done done, std::chrono::microseconds time) {
  auto end = Clock::now() + time;
  do {
    for (int i = 0; i < kPausesPerLook; i++) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return done();
}

/// Something to sleep on until another thread has made a condition true and called wake.
class Doorbell {
 public:
  template <class Done>
  void wait(Done done, std::chrono::microseconds spin = kSpin) {
    if (spin_until(done, spin)) return;
    sleepers_.fetch_add(1);
    for (uint32_t seen = rings_.load(); !done(); seen = rings_.load()) rings_.wait(seen);
    sleepers_.fetch_sub(1);
  }
  void wake() {
    if (sleepers_.load() == 0) return;
    rings_.fetch_add(1);
    rings_.notify_all();
  }

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> sleepers_{0};
};

/// Leads a thread out of a region that has failed, or that ended while it waited.
struct Leave {};

}  // namespace

/// A body and its loops. Their pieces are numbered in one row, so that a thread that is behind
/// claims nothing of a later loop. Those that are dealt are claimed where they are dealt.
struct Lane {
  alignas(64) std::atomic<long long> claimed{0};
  alignas(64) std::atomic<long long> done{0};
  const Pool::Body* body = nullptr;

  void begin(const Pool::Body& work) {
    claimed = 0;
    done = 0;
    body = &work;
  }
};

// What the threads of a region share. It lives as long as the pool, since threads may look at it
// after a region has ended. All operations are sequentially consistent: "I am in" and "it is over",
// and "I sleep" and "it is done", are each written by one side before it reads the other's.
class Region {
 public:
  explicit Region(int size) : size(size), seats(size) {}

  enum Place : uint32_t { kOut, kIn, kWaiting };
  struct alignas(64) Seat {
    ~Seat() { std::free(scratch); }
    std::atomic<uint32_t> place{kOut};
    void* scratch = nullptr;
    size_t scratch_bytes = 0;
  };

  const int size;
  std::deque<Seat> seats;

  Lane lane, beside;
  int beside_threads = 0;  // that start with it: the last

  alignas(64) std::atomic<uint64_t> number{0};  // odd while a region is open
  std::atomic<bool> failed{false};
  std::atomic<bool> stopping{false};

  std::mutex exception_mutex;
  std::exception_ptr exception;

  Doorbell opened;    // a region is open, or the pool ends
  Doorbell finished;  // a loop's last piece is done, a region failed, or a thread left it

  void fail(std::exception_ptr e) {
    {
      std::lock_guard lock(exception_mutex);
      if (!exception) exception = std::move(e);
    }
    failed = true;
    finished.wake();
  }

  void work(int index) noexcept {
    const bool starts_beside = index >= size - beside_threads;
    try {
      take_part(starts_beside ? beside : lane, index);
      take_part(starts_beside ? lane : beside, index);
    } catch (const Leave&) {
    } catch (...) {
      fail(std::current_exception());
    }
  }

  /// One thread of the pool: takes part in each region that it finds open.
  void serve(int index) noexcept {
    place_thread(index, size);
    uint64_t last = 0;
    while (true) {
      opened.wait([&] { return stopping || (number % 2 == 1 && number != last); }, awake);
      if (stopping) return;
      std::atomic<uint32_t>& place = seats[index].place;
      place = kIn;
      uint64_t now = number;
      if (now % 2 == 1) {
        work(index);
        last = now;
      }
      place = kOut;
      finished.wake();
    }
  }

  void run(const Pool::Body& body, const Pool::Body& other, int threads) {
    lane.begin(body);
    beside.begin(other);
    beside_threads = std::min(threads, size - 1);
    failed = false;
    number++;
    opened.wake();
    work(0);
    number++;
    for (int i = 1; i < size; i++) finished.wait([&] { return left(seats[i].place); });
    if (failed) std::rethrow_exception(std::exchange(exception, nullptr));
  }

 private:
  void take_part(Lane& in, int index) {
    if (!*in.body) return;
    Worker worker(*this, in, index);
    (*in.body)(worker);
  }

  /// Whether the thread is out; a waiting one is put out.
  static bool left(std::atomic<uint32_t>& place) {
    uint32_t waiting = kWaiting;
    return place == kOut || place.compare_exchange_strong(waiting, kOut);
  }
};

void* Worker::scratch(size_t bytes) {
  Region::Seat& seat = region_.seats[index_];
  if (bytes > seat.scratch_bytes) {
    std::free(std::exchange(seat.scratch, nullptr));
    seat.scratch_bytes = 0;
    size_t rounded = (bytes + 4095) / 4096 * 4096;
    seat.scratch = std::aligned_alloc(64, rounded);
    if (seat.scratch == nullptr) throw std::bad_alloc();
    seat.scratch_bytes = rounded;
  }
  return seat.scratch;
}

/// A few lines: the caller looks in between whether it may go on.
void Worker::fetch_ahead() {
  constexpr size_t kLine = 64, kLines = 8;
  for (size_t i = 0; i < kLines && ahead_.bytes >= kLine; i++) {
    __builtin_prefetch(ahead_.data, 0, 2);
    ahead_.data += kLine;
    ahead_.bytes -= kLine;
  }
}

void Worker::for_each_piece(int pieces, void (*body)(void*, int), void* context) {
  if (pieces <= 0) return;
  Region& r = region_;
  long long first = claimed_before_, end = first + pieces;
  claimed_before_ = end;

  long long seen = lane_.claimed;
  while (true) {
    if (r.failed) throw Leave();
    long long next = std::max(seen, first);  // dealt pieces are not claimed here
    if (next >= end) break;
    if (!lane_.claimed.compare_exchange_weak(seen, next + 1)) continue;
    body(context, static_cast<int>(next - first));
    finish(1, end);
    seen = lane_.claimed;
  }
  wait(end);
}

void Worker::for_each_dealt(Deal& deal, void (*body)(void*, int), void* context) {
  if (deal.pieces() <= 0) return;
  long long end = claimed_before_ + deal.pieces();
  claimed_before_ = end;
  int done = 0;  // told once: a counter that all threads write costs each piece a read of kilobytes
  for (int piece; (piece = deal.take(index_)) >= 0; done++) {
    if (region_.failed) throw Leave();
    body(context, piece);
  }
  if (done > 0) finish(done, end);
  wait(end);
}

/// Counts pieces as done, of a loop whose pieces end at `end`.
void Worker::finish(int pieces, long long end) {
  if ((lane_.done += pieces) == end) region_.finished.wake();
}

/// Until all pieces before `end` are done.
void Worker::wait(long long end) {
  Region& r = region_;
  auto over = [&] { return lane_.done >= end || r.failed; };
  if (!over()) {
    std::atomic<uint32_t>& place = r.seats[index_].place;
    uint32_t waiting = Region::kWaiting;
    place = waiting;
    r.finished.wait([&] {
      fetch_ahead();
      return over() || place != Region::kWaiting;
    });
    if (!place.compare_exchange_strong(waiting, Region::kIn)) throw Leave();
  }
  if (r.failed) throw Leave();
}

namespace {

/// The pool's state. Never destroyed: threads may outlive the statics of this library.
struct Crew {
  std::mutex mutex;  // held for the length of a region
  std::atomic<int> wanted{0};
  std::unique_ptr<Region> region;
  std::vector<std::thread> threads;
  pid_t process = 0;
  bool ended = false;

  void dismiss() {
    if (!region) return;
    region->stopping = true;
    region->opened.wake();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    region.reset();
  }

  /// As many threads as are wanted, or the caller alone where threads can no longer be had.
  void muster() {
    if (process != getpid() && process != 0) {
      // A forked child has none of its parent's threads: forget them, nothing can join them.
      new std::vector<std::thread>(std::move(threads));
      threads.clear();
      (void)region.release();
      ended = true;
    }
    int size = ended ? 1 : wanted.load();
    if (region && region->size == size) return;
    dismiss();
    process = getpid();
    region = std::make_unique<Region>(size);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to the host's threads
    try {
      for (int i = 1; i < size; i++) {
        threads.emplace_back([r = region.get(), i] { r->serve(i); });
      }
    } catch (const std::system_error&) {
      // The system gives no more threads; a region gets by with those that there are.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
};

Crew& crew() {
  static Crew& crew = *[] {
    auto* crew = new Crew;
    crew->wanted = machine_share();
    note_processors();
    std::atexit([] {
      Crew& c = ck::crew();
      if (c.process != getpid()) return;
      std::lock_guard lock(c.mutex);
      c.dismiss();
      c.ended = true;
    });
    // The child may have inherited the lock of a region that another thread is running.
    pthread_atfork(nullptr, nullptr, [] { new (&ck::crew().mutex) std::mutex; });
    return crew;
  }();
  return crew;
}

}  // namespace

Pool& Pool::shared() {
  static Pool& pool = *new Pool;
  return pool;
}

int Pool::size() const { return crew().wanted; }

void Pool::place_caller() { place_thread(0, size()); }

int Pool::configure(int threads) {
  int size = threads > 0 ? std::min(threads, kMostThreads) : machine_share();
  crew().wanted = size;
  return size;
}

void Pool::linger(std::chrono::microseconds longer) { awake = kSpin + longer; }

void Pool::run(const Body& body, const Body& beside, int threads) {
  Crew& c = crew();
  std::lock_guard lock(c.mutex);
  c.muster();
  c.region->run(body, beside, threads);
}

}  // namespace ck

extern "C" int ck_pool_configure(int threads) { return ck::Pool::shared().configure(threads); }

extern "C" void ck_pool_hands_out(void) { ck::take_short_slices(); }
