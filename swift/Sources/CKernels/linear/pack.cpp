#include "pack.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "blocks.hpp"
#include "half.hpp"

namespace ck {
namespace {

struct alignas(2) BlockQ4_0 {
  uint16_t d;
  uint8_t quads[16];
};
struct alignas(2) BlockQ4_1 {
  uint16_t d, m;
  uint8_t quads[16];
};
struct alignas(2) BlockQ8_0 {
  uint16_t d;
  uint8_t quads[32];
};
static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ8_0) == 34);

int stored_row(const SourceRow& row) {
  return row.source->row_order == nullptr ? row.row : row.source->row_order[row.row];
}

/// The start of a stored row of `bytes` bytes.
const uint8_t* row_start(const void* data, const SourceRow& row, size_t bytes) {
  return static_cast<const uint8_t*>(data) + stored_row(row) * bytes;
}

void put16(uint8_t* at, uint16_t value) { std::memcpy(at, &value, 2); }

/// A GGUF block is a lane of the panel's vectors as it is: 4 bytes at a time.
template <class Block>
void pack_blocks(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel) {
  const int groups = rows[0].source->columns / kGroupColumns;
  const Block* blocks[kPanelRows];
  static constexpr Block kZero{};
  for (int n = 0; n < kPanelRows; n++) {
    blocks[n] = rows[n].row < 0 ? nullptr
                                : reinterpret_cast<const Block*>(row_start(
                                      rows[n].source->data, rows[n], groups * sizeof(Block)));
  }
  constexpr int kVectors = sizeof(Block::quads) / 4;
  constexpr uint32_t kFlip = kVectors == 8 ? 0x80808080 : 0;  // int8 q as uint8 q + 128
  for (int g = 0; g < groups; g++) {
    uint8_t* scales = panel + format.scales_offset(g);
    uint8_t* values = panel + format.values_offset(g);
    for (int n = 0; n < kPanelRows; n++) {
      const Block& block = blocks[n] == nullptr ? kZero : blocks[n][g];
      put16(scales + 2 * n, block.d);
      if constexpr (requires { block.m; }) put16(scales + 2 * (kPanelRows + n), block.m);
      for (int i = 0; i < kVectors; i++) {
        uint32_t quad;
        std::memcpy(&quad, block.quads + 4 * i, 4);
        quad ^= kFlip;
        std::memcpy(values + 64 * i + 4 * n, &quad, 4);
      }
    }
  }
}

/// 32 values of `bits` bits from a little-endian bit stream.
template <int bits>
void unpack(const uint8_t* stream, uint8_t (&out)[kGroupColumns]) {
  for (int k = 0; k < kGroupColumns; k += 8, stream += bits) {  // 8 values are `bits` bytes
    uint64_t eight = 0;
    std::memcpy(&eight, stream, bits);
    for (int i = 0; i < 8; i++) out[k + i] = eight >> (bits * i) & ((1 << bits) - 1);
  }
}

/// Writes `bits` bits of a row's codes, from bit `low` on, as a plane.
template <int low, int bits>
void put_plane(const uint8_t (&q)[kGroupColumns], uint8_t* to) {
  constexpr uint32_t kMask = ((1u << bits) - 1) * 0x01010101;
  uint32_t vectors[bits] = {};
  for (int j = 0; j < 8; j++) {
    uint32_t quad;
    std::memcpy(&quad, q + 4 * j, 4);
    vectors[j % bits] |= (quad >> low & kMask) << bits * (j / bits);
  }
  for (int i = 0; i < bits; i++) std::memcpy(to + 64 * i, vectors + i, 4);
}

/// A row's group, as a lane of a panel.
template <Layout layout>
void put_codes(const uint8_t (&q)[kGroupColumns], uint8_t* to) {
  constexpr int kFirst = first_plane_bits(layout), kSecond = code_bits(layout) - kFirst;
  put_plane<0, kFirst>(q, to);
  if constexpr (kSecond > 0) put_plane<kFirst, kSecond>(q, to + 64 * kFirst);
}

/// The same, from MLX's stream.
template <Layout layout>
void pack_group(const uint8_t* stream, uint8_t* to) {
  uint8_t q[kGroupColumns];
  unpack<code_bits(layout)>(stream, q);
  put_codes<layout>(q, to);
}

void put_scale(float value, ScaleType type, uint8_t* to) {
  if (type == ScaleType::f32) {
    std::memcpy(to, &value, sizeof value);
  } else {
    put16(to, nearest_half(value));
  }
}

/// Blocks that are read group by group.
template <class Block>
void pack_groups(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel) {
  const int groups = rows[0].source->columns / kGroupColumns;
  const size_t scale = format.scale_bytes();
  const Block* blocks[kPanelRows];
  for (int n = 0; n < kPanelRows; n++) {
    if (rows[n].row < 0) continue;
    blocks[n] = reinterpret_cast<const Block*>(
        row_start(rows[n].source->data, rows[n], groups / Block::kGroups * sizeof(Block)));
  }
  for (int g = 0; g < groups; g++) {
    uint8_t* scales = panel + format.scales_offset(g);
    uint8_t* values = panel + format.values_offset(g);
    for (int n = 0; n < kPanelRows; n++) {
      if (rows[n].row < 0) continue;  // memory of a new panel is zero
      BlockGroup group;
      read_group(blocks[n][g / Block::kGroups], g % Block::kGroups, group);
      put_scale(group.scale, format.scale_type, scales + n * scale);
      put_scale(group.second, format.scale_type, scales + (kPanelRows + n) * scale);
      put_codes<Block::kLayout>(group.q, values + 4 * n);
    }
  }
}

struct AffineFormat {
  Layout layout;
  void (*pack_group)(const uint8_t* stream, uint8_t* to);
};
template <Layout layout>
constexpr AffineFormat kAffine{layout, pack_group<layout>};
/// By the number of bits; without a function where there is no layout.
constexpr AffineFormat kAffineFormats[] = {{},
                                           {},
                                           kAffine<Layout::u2>,
                                           kAffine<Layout::u3>,
                                           kAffine<Layout::u4>,
                                           kAffine<Layout::u5>,
                                           kAffine<Layout::u6>,
                                           {},
                                           kAffine<Layout::u8>};

/// A row of MLX's affine form.
struct AffineRow {
  const uint8_t *scales, *biases, *stream;
};

void pack_affine(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel) {
  const ck_source& first = *rows[0].source;
  const int groups = first.columns / kGroupColumns, scale_groups = first.columns / first.group_size;
  const size_t scale = format.scale_bytes(), group_stream = kGroupColumns * first.bits / 8;
  AffineRow at[kPanelRows];
  int count = 0;  // rows of zeros come last, and memory of a new panel is zero
  for (; count < kPanelRows && rows[count].row >= 0; count++) {
    const ck_source& source = *rows[count].source;
    at[count] = {row_start(source.scales, rows[count], scale_groups * scale),
                 row_start(source.biases, rows[count], scale_groups * scale),
                 row_start(source.data, rows[count], groups * group_stream)};
  }
  for (int s = 0; s < scale_groups; s++) {
    uint8_t* to = panel + format.scales_offset(s);
    for (int n = 0; n < count; n++) {
      std::memcpy(to + n * scale, at[n].scales + s * scale, scale);
      std::memcpy(to + (kPanelRows + n) * scale, at[n].biases + s * scale, scale);
    }
  }
  const auto pack_group = kAffineFormats[first.bits].pack_group;
  for (int g = 0; g < groups; g++) {
    uint8_t* to = panel + format.values_offset(g);
    for (int n = 0; n < count; n++) pack_group(at[n].stream + g * group_stream, to + 4 * n);
  }
}

/// Values of one row, as lane n of a panel.
template <class Value>
void spread(const uint8_t* from, size_t count, int n, uint8_t* panel) {
  uint8_t* to = panel + n * sizeof(Value);
  for (size_t i = 0; i < count; i++) {
    std::memcpy(to + i * kPanelRows * sizeof(Value), from + i * sizeof(Value), sizeof(Value));
  }
}

void pack_floats(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel) {
  const size_t element = format.element_bytes();
  const int columns = rows[0].source->columns;
  for (int n = 0; n < kPanelRows; n++) {
    if (rows[n].row < 0) continue;
    const ck_source& source = *rows[n].source;
    if (source.format != CK_FLOAT32 || format.layout == Layout::f32) {
      const uint8_t* from = row_start(source.data, rows[n], columns * element);
      if (format.layout == Layout::f16) {
        spread<uint16_t>(from, columns, n, panel);
      } else {  // floats, or pairs
        spread<uint32_t>(from, columns * element / 4, n, panel);
      }
      if (format.layout == Layout::bf16 && columns % 2 != 0) {
        const int last = columns - 1;
        std::memcpy(panel + format.element_offset(n, last), from + last * element, element);
      }
      continue;
    }
    const uint8_t* from = row_start(source.data, rows[n], columns * sizeof(float));
    for (int k = 0; k < columns; k++) {
      float value;
      std::memcpy(&value, from + k * sizeof value, sizeof value);
      uint16_t bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
      if (format.layout == Layout::f16) half_from_float(value, bits);
      put16(panel + format.element_offset(n, k), bits);
    }
  }
}

/// The narrowest layout that holds every value of a float32 matrix exactly.
Layout exact_layout(const ck_source& source) {
  const auto* data = static_cast<const uint8_t*>(source.data);
  bool bfloat16 = true, half = true;
  const size_t count = static_cast<size_t>(source.rows) * source.columns;
  for (size_t i = 0; i < count && (bfloat16 || half); i++) {
    float value;
    std::memcpy(&value, data + i * sizeof value, sizeof value);
    uint16_t bits;
    bfloat16 = bfloat16 && fits_bfloat16(value);
    half = half && half_from_float(value, bits);
  }
  return bfloat16 ? Layout::bf16 : half ? Layout::f16 : Layout::f32;
}

/// Half scales, unless one leaves their range.
template <class Block>
PanelFormat block_format(const ck_source& source) {
  if constexpr (requires(Block block) { block.bound(); }) {
    const auto* blocks = static_cast<const Block*>(source.data);
    const size_t groups = static_cast<size_t>(source.rows) * source.columns / kGroupColumns;
    for (size_t i = 0; i < groups / Block::kGroups; i++) {
      const float bound = blocks[i].bound();
      if (bound > 65504 && std::isfinite(bound)) return {Block::kLayout, ScaleType::f32, 1};
    }
  }
  return {Block::kLayout, ScaleType::f16, 1};
}

const char* affine_obstacle(const ck_source& source) {
  if (source.bits < 2 || source.bits > 8 || kAffineFormats[source.bits].pack_group == nullptr) {
    return "values of this many bits are not supported";
  }
  if (source.group_size != 32 && source.group_size != 64 && source.group_size != 128) {
    return "groups of this size are not supported";
  }
  if (source.columns % source.group_size != 0) return "the columns are not whole groups";
  switch (source.scale_dtype) {
    case CMLX_FLOAT16:
    case CMLX_BFLOAT16:
    case CMLX_FLOAT32:
      return nullptr;
    default:
      return "scales of this type are not supported";
  }
}

PanelFormat affine_format(const ck_source& source) {
  return {kAffineFormats[source.bits].layout,
          source.scale_dtype == CMLX_FLOAT16    ? ScaleType::f16
          : source.scale_dtype == CMLX_BFLOAT16 ? ScaleType::bf16
                                                : ScaleType::f32,
          source.group_size / kGroupColumns};
}

}  // namespace

const char* packing_obstacle(const ck_source& source) {
  if (source.rows <= 0 || source.columns <= 0) return "it has no rows or no columns";
  switch (source.format) {
    case CK_FLOAT32:
    case CK_FLOAT16:
    case CK_BFLOAT16:
      return nullptr;
    case CK_GGUF_Q4_0:
    case CK_GGUF_Q4_1:
    case CK_GGUF_Q8_0:
    case CK_GGUF_Q5_0:
    case CK_GGUF_Q5_1:
      return source.columns % kGroupColumns == 0 ? nullptr : "the columns are not whole groups";
    case CK_GGUF_Q3_K:
    case CK_GGUF_Q4_K:
    case CK_GGUF_Q5_K:
    case CK_GGUF_Q6_K:
      return source.columns % 256 == 0 ? nullptr : "the columns are not whole blocks";
    case CK_AFFINE:
      return affine_obstacle(source);
  }
  return "this format is not supported";
}

PanelFormat panel_format(const ck_source& source) {
  switch (source.format) {
    case CK_FLOAT32:
      return {exact_layout(source), ScaleType::f16, 1, true};
    case CK_FLOAT16:
      return {Layout::f16, ScaleType::f16, 1};
    case CK_BFLOAT16:
      return {Layout::bf16, ScaleType::f16, 1};
    case CK_GGUF_Q4_0:
      return {Layout::s4, ScaleType::f16, 1};
    case CK_GGUF_Q4_1:
      return {Layout::u4, ScaleType::f16, 1};
    case CK_GGUF_Q8_0:
      return {Layout::s8, ScaleType::f16, 1};
    case CK_GGUF_Q5_0:
      return block_format<BlockQ5_0>(source);
    case CK_GGUF_Q5_1:
      return block_format<BlockQ5_1>(source);
    case CK_GGUF_Q3_K:
      return block_format<BlockQ3_K>(source);
    case CK_GGUF_Q4_K:
      return block_format<BlockQ4_K>(source);
    case CK_GGUF_Q5_K:
      return block_format<BlockQ5_K>(source);
    case CK_GGUF_Q6_K:
      return block_format<BlockQ6_K>(source);
    case CK_AFFINE:
      return affine_format(source);
  }
}

void pack_panel(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel) {
  switch (rows[0].source->format) {
    case CK_GGUF_Q4_0:
      return pack_blocks<BlockQ4_0>(format, rows, panel);
    case CK_GGUF_Q4_1:
      return pack_blocks<BlockQ4_1>(format, rows, panel);
    case CK_GGUF_Q8_0:
      return pack_blocks<BlockQ8_0>(format, rows, panel);
    case CK_GGUF_Q5_0:
      return pack_groups<BlockQ5_0>(format, rows, panel);
    case CK_GGUF_Q5_1:
      return pack_groups<BlockQ5_1>(format, rows, panel);
    case CK_GGUF_Q3_K:
      return pack_groups<BlockQ3_K>(format, rows, panel);
    case CK_GGUF_Q4_K:
      return pack_groups<BlockQ4_K>(format, rows, panel);
    case CK_GGUF_Q5_K:
      return pack_groups<BlockQ5_K>(format, rows, panel);
    case CK_GGUF_Q6_K:
      return pack_groups<BlockQ6_K>(format, rows, panel);
    case CK_AFFINE:
      return pack_affine(format, rows, panel);
    default:
      return pack_floats(format, rows, panel);
  }
}

}  // namespace ck
