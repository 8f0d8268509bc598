// 16-bit floats as bits, without instructions that some machine lacks.
#ifndef CK_HALF_HPP
#define CK_HALF_HPP

#include <bit>
#include <cstdint>

namespace ck {

inline float float_from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline float float_from_half(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t rest = bits & 0x7fff;
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  // 2^112 moves the exponent's bias from 15 to 127, for subnormal numbers too.
  float magnitude = std::bit_cast<float>(rest << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

/// Whether a bfloat16 holds the value; its bits are then the upper half of the float's.
inline bool fits_bfloat16(float value) { return (std::bit_cast<uint32_t>(value) & 0xffff) == 0; }

/// The half that holds a finite value exactly, in `out`; false where there is none.
inline bool half_from_float(float value, uint16_t& out) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x477fe000) return false;  // above 65504
  // The reverse of float_from_half: the product is exact, or loses bits and differs on the way
  // back.
  uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p-112f);
  out = static_cast<uint16_t>((bits >> 16 & 0x8000) | scaled >> 13);
  return std::bit_cast<uint32_t>(float_from_half(out)) == bits;
}

/// The nearest half, to even between two.
inline uint16_t nearest_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffff;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return sign | 0x7e00;  // NaN
  if (magnitude < 0x38800000) {  // subnormal halves are whole multiples of what 0.5 rounds to
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(rounded) - 0x3f000000);
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return rounded >= 0x47800000 ? sign | 0x7c00
                               : sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

}  // namespace ck

#endif  // CK_HALF_HPP
