// For C++ targets that build on CMLX: what is behind its handles, and the one place where a C++
// exception becomes a status.
#ifndef CMLX_HPP
#define CMLX_HPP

#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>

#include "cmlx.h"
#include "mlx/mlx.h"

namespace cmlx {

inline void fill(cmlx_error* error, const char* message) noexcept {
  if (error == nullptr) return;
  std::strncpy(error->message, message, sizeof error->message - 1);
  error->message[sizeof error->message - 1] = 0;
}

/// Runs `body`; an exception becomes status 1 and its text.
template <class Body>
int guarded(cmlx_error* error, Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    fill(error, e.what());
  } catch (...) {
    fill(error, "an exception of unknown type");
  }
  return 1;
}

/// How work of ours on MLX's thread ended. None of it may throw there: for an exception that nobody
/// has read yet, MLX (0.32, scheduler.cpp) refuses what its first thread queues next, also the word
/// that a counted task is done, and later waits for ever for that task.
class Outcome {
 public:
  /// `before`: of the work whose elements this one reads, or empty. Its failure is this one's too.
  explicit Outcome(std::shared_ptr<const Outcome> before) : before_(std::move(before)) {}

  /// Runs `work`, once, on MLX's thread. Keeps what it throws.
  template <class Work>
  void of(Work&& work) noexcept {
    const int status = guarded(&error_, [&] {
      if (before_ != nullptr) std::exchange(before_, nullptr)->check();
      work();
    });
    failed_.store(status != 0, std::memory_order_release);
  }

  /// Throws std::runtime_error with what the work threw. For whoever has waited for the work.
  void check() const {
    if (failed_.load(std::memory_order_acquire)) throw std::runtime_error(error_.message);
  }

 private:
  std::shared_ptr<const Outcome> before_;
  cmlx_error error_;
  std::atomic<bool> failed_ = false;
};

}  // namespace cmlx

struct cmlx_array_s {
  mlx::core::array value;
  std::shared_ptr<const cmlx::Outcome> outcome;  // of our own work behind the elements, or empty
};

struct cmlx_stream_s {
  mlx::core::Stream value;
};

namespace cmlx {

inline cmlx_array boxed(mlx::core::array value, std::shared_ptr<const Outcome> outcome = nullptr) {
  return new cmlx_array_s{std::move(value), std::move(outcome)};
}

/// To be called once `array` is evaluated. Throws what Outcome::check does.
inline void check(const cmlx_array_s& array) {
  if (array.outcome != nullptr) array.outcome->check();
}

}  // namespace cmlx

#endif  // CMLX_HPP
