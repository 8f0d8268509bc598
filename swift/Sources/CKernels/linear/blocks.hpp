// llama.cpp's blocks whose codes do not lie in a panel as they are: read by groups of 32 columns.
// Their fields are those of ggml-common.h.
#ifndef CK_BLOCKS_HPP
#define CK_BLOCKS_HPP

#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.hpp"
#include "layout.hpp"

namespace ck {

/// A group's numbers and codes. second: the bias, or the scale of the columns from 16 on.
struct BlockGroup {
  float scale = 0, second = 0;
  uint8_t q[kGroupColumns] = {};
};

struct alignas(2) BlockQ5_0 {
  static constexpr Layout kLayout = Layout::u5;
  static constexpr int kGroups = 1;
  uint16_t d;
  uint8_t high[4], low[16];

  /// What no finite number of a group exceeds; absent where all are halves.
  float bound() const { return 16 * std::fabs(float_from_half(d)); }
};
struct alignas(2) BlockQ5_1 {
  static constexpr Layout kLayout = Layout::u5;
  static constexpr int kGroups = 1;
  uint16_t d, m;
  uint8_t high[4], low[16];
};
struct alignas(2) BlockQ3_K {
  static constexpr Layout kLayout = Layout::h3;
  static constexpr int kGroups = 8;
  uint8_t high[32], low[64], scales[12];
  uint16_t d;

  float bound() const { return 32 * std::fabs(float_from_half(d)); }
};
struct alignas(2) BlockQ4_K {
  static constexpr Layout kLayout = Layout::u4;
  static constexpr int kGroups = 8;
  uint16_t d, dmin;
  uint8_t scales[12], low[128];

  float bound() const {
    return 63 * std::fmax(std::fabs(float_from_half(d)), std::fabs(float_from_half(dmin)));
  }
};
struct alignas(2) BlockQ5_K {
  static constexpr Layout kLayout = Layout::u5;
  static constexpr int kGroups = 8;
  uint16_t d, dmin;
  uint8_t scales[12], high[32], low[128];

  float bound() const {
    return 63 * std::fmax(std::fabs(float_from_half(d)), std::fabs(float_from_half(dmin)));
  }
};
struct alignas(2) BlockQ6_K {
  static constexpr Layout kLayout = Layout::h6;
  static constexpr int kGroups = 8;
  uint8_t low[128], high[64];
  int8_t scales[16];
  uint16_t d;

  float bound() const { return 128 * std::fabs(float_from_half(d)); }
};
static_assert(sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);

constexpr uint64_t kEveryByte = 0x0101010101010101;

/// Or-s `bits` bits of each of `count` bytes, from bit `from` on, into bits `to` and up of q.
inline void add_fields(const uint8_t* bytes, int count, int from, int bits, int to, uint8_t* q) {
  const uint64_t mask = ((1u << bits) - 1) * kEveryByte;
  for (int k = 0; k < count; k += 8) {
    uint64_t eight, codes;
    std::memcpy(&eight, bytes + k, 8);
    std::memcpy(&codes, q + k, 8);
    codes |= (eight >> from & mask) << to;
    std::memcpy(q + k, &codes, 8);
  }
}

/// Bit i of a byte as byte i.
inline uint64_t spread_bits(uint8_t byte) {
  const uint64_t bits = byte * kEveryByte & 0x8040201008040201;
  return (bits + 0x7f * kEveryByte) >> 7 & kEveryByte;
}

/// Byte j of `low` has the low bits of columns j and j + 16, bit j of `high` the fifth of column j.
inline void read_five_bits(const uint8_t* low, const uint8_t* high, uint8_t* q) {
  for (int k = 0; k < kGroupColumns; k += 8) {
    const uint64_t fifths = spread_bits(high[k / 8]) << 4;
    std::memcpy(q + k, &fifths, 8);
  }
  add_fields(low, 16, 0, 4, 0, q);
  add_fields(low, 16, 4, 4, 0, q + 16);
}

inline void read_group(const BlockQ5_0& block, int, BlockGroup& group) {
  group.scale = float_from_half(block.d);
  group.second = -16 * group.scale;
  read_five_bits(block.low, block.high, group.q);
}

inline void read_group(const BlockQ5_1& block, int, BlockGroup& group) {
  group.scale = float_from_half(block.d);
  group.second = float_from_half(block.m);
  read_five_bits(block.low, block.high, group.q);
}

/// 16 scales of 6 bits: byte i % 8 has the low 4 of scale i, byte 8 + i % 4 the high 2.
inline void read_group(const BlockQ3_K& block, int g, BlockGroup& group) {
  const float d = float_from_half(block.d);
  auto scale = [&](int i) {
    const int low = block.scales[i % 8] >> 4 * (i / 8) & 15;
    return d * static_cast<float>((low | (block.scales[8 + i % 4] >> 2 * (i / 4) & 3) << 4) - 32);
  };
  group.scale = scale(2 * g);
  group.second = scale(2 * g + 1);
  add_fields(block.low + 32 * (g / 4), kGroupColumns, 2 * (g % 4), 2, 0, group.q);
  add_fields(block.high, kGroupColumns, g, 1, 2, group.q);
}

/// Scale and minimum of 6 bits: those of groups 0 to 3 in the low bits of bytes 0 to 7; of groups 4
/// to 7 the low 4 bits in bytes 8 to 11, and the high 2 on top of the others.
template <class Block>
void read_scale_and_minimum(const Block& block, int g, BlockGroup& group) {
  const uint8_t* s = block.scales;
  const int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
  const int minimum = g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | s[g] >> 6 << 4;
  group.scale = float_from_half(block.d) * static_cast<float>(scale);
  group.second = -float_from_half(block.dmin) * static_cast<float>(minimum);
}

inline void read_group(const BlockQ4_K& block, int g, BlockGroup& group) {
  read_scale_and_minimum(block, g, group);
  add_fields(block.low + 32 * (g / 2), kGroupColumns, 4 * (g % 2), 4, 0, group.q);
}

inline void read_group(const BlockQ5_K& block, int g, BlockGroup& group) {
  read_scale_and_minimum(block, g, group);
  add_fields(block.low + 32 * (g / 2), kGroupColumns, 4 * (g % 2), 4, 0, group.q);
  add_fields(block.high, kGroupColumns, g, 1, 4, group.q);
}

inline void read_group(const BlockQ6_K& block, int g, BlockGroup& group) {
  const float d = float_from_half(block.d);
  group.scale = d * static_cast<float>(block.scales[2 * g]);
  group.second = d * static_cast<float>(block.scales[2 * g + 1]);
  const int half = g / 4, quarter = g % 4;
  const uint8_t* low = block.low + 64 * half + 32 * (quarter % 2);
  add_fields(low, kGroupColumns, 4 * (quarter / 2), 4, 0, group.q);
  add_fields(block.high + 32 * half, kGroupColumns, 2 * quarter, 2, 4, group.q);
}

}  // namespace ck

#endif  // CK_BLOCKS_HPP
