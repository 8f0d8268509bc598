// llama.cpp's blocks whose codes do not lie in a panel as they are: read by groups of 32 columns.
// Their fields are those of ggml-common.h.
#ifndef CK_BLOCKS_HPP
#define CK_BLOCKS_HPP

#include <cstdint>
#include <cstring>

#include "half.hpp"
#include "layout.hpp"

namespace ck {

/// value = scale * q + bias
struct BlockGroup {
  float scale, bias;
  uint8_t q[kGroupColumns];
};

struct alignas(2) BlockQ5_0 {
  static constexpr Layout kLayout = Layout::u5;
  static constexpr int kGroups = 1;
  uint16_t d;
  uint8_t high[4], low[16];
  static constexpr float kMost = 16;  // times d's magnitude: the most that a scale or bias has
};
struct alignas(2) BlockQ5_1 {
  static constexpr Layout kLayout = Layout::u5;
  static constexpr int kGroups = 1;
  uint16_t d, m;
  uint8_t high[4], low[16];
  static constexpr float kMost = 1;
};
static_assert(sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);

/// 5-bit codes: byte j of `low` has the low bits of columns j and j + 16, bit j of `high` the fifth
/// bit of column j.
inline void read_five_bits(const uint8_t* low, const uint8_t* high, uint8_t* q) {
  uint32_t fifth;
  std::memcpy(&fifth, high, 4);
  for (int j = 0; j < 16; j++) {
    q[j] = static_cast<uint8_t>((low[j] & 15) | (fifth >> j & 1) << 4);
    q[j + 16] = static_cast<uint8_t>(low[j] >> 4 | (fifth >> (j + 16) & 1) << 4);
  }
}

inline void read_group(const BlockQ5_0& block, int, BlockGroup& group) {
  group.scale = float_from_half(block.d);
  group.bias = -16 * group.scale;
  read_five_bits(block.low, block.high, group.q);
}

inline void read_group(const BlockQ5_1& block, int, BlockGroup& group) {
  group.scale = float_from_half(block.d);
  group.bias = float_from_half(block.m);
  read_five_bits(block.low, block.high, group.q);
}

}  // namespace ck

#endif  // CK_BLOCKS_HPP
