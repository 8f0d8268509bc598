// Memory of steps' outputs, kept from step to step: the logits of 256 rows are 50 MB, which the
// system would otherwise take back, and clear page by page for the next step.
#ifndef CK_OUTPUTS_HPP
#define CK_OUTPUTS_HPP

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "mlx/array.h"

namespace ck {

/// Of one plan, and of the arrays that it gave memory to: each keeps it.
class Outputs : public std::enable_shared_from_this<Outputs> {
 public:
  Outputs() = default;
  ~Outputs();
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;

  /// Gives `array` memory, which comes back when nothing refers to it any more. Throws
  /// std::bad_alloc.
  void allocate(mlx::core::array& array);
  /// Gives what no array has back to the system.
  void rest();

 private:
  void take_back(mlx::core::allocator::Buffer buffer);

  std::mutex mutex_;
  std::vector<mlx::core::allocator::Buffer> free_;
};

}  // namespace ck

#endif  // CK_OUTPUTS_HPP
