// A row's unit, of which the scale of each 16 columns is a whole multiple.
#ifndef CK_LINEAR_UNITS_HPP
#define CK_LINEAR_UNITS_HPP

#include <cstdint>

namespace ck {

constexpr float kMostMultiple = 32767;  // times 2 halves * 16 columns * 15 * 127 fits an int32

/// What a row's quantization needs of its largest magnitude.
struct Units {
  float multiples;  // a half's multiple over its largest magnitude
  float inverse;    // 1 / unit; 0: all of the row counts as zero, or is NaN
  float unit;
};

/// largest_bits: of the row's largest magnitude as a float32; infinity's and NaN's are above all.
Units units_of(int32_t largest_bits);

}  // namespace ck

#endif  // CK_LINEAR_UNITS_HPP
