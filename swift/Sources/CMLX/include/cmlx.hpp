// For C++ targets that build on CMLX: what is behind its handles, and the one place where a C++
// exception becomes a status.
#ifndef CMLX_HPP
#define CMLX_HPP

#include <cstring>
#include <exception>
#include <utility>

#include "cmlx.h"
#include "mlx/mlx.h"

struct cmlx_array_s {
  mlx::core::array value;
};

struct cmlx_stream_s {
  mlx::core::Stream value;
};

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

inline cmlx_array boxed(mlx::core::array value) { return new cmlx_array_s{std::move(value)}; }

}  // namespace cmlx

#endif  // CMLX_HPP
