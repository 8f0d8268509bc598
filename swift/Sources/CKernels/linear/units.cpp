#include "units.hpp"

namespace ck {

Units units_of(int32_t largest_bits) {
  const float largest = __builtin_bit_cast(float, largest_bits);
  if (largest_bits >= 0x7f800000) return {0, 0, __builtin_nanf("")};
  if (largest < 1e-31f) return {0, 0, 0};  // 1 / unit would overflow
  constexpr float kSteps = 127 * kMostMultiple;
  return {kMostMultiple / largest, kSteps / largest, largest / kSteps};
}

}  // namespace ck
