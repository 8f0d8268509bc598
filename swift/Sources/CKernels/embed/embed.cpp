#include "embed.hpp"

#include <algorithm>
#include <cstring>

#include "../linear/half.hpp"
#include "../linear/matrix.hpp"

namespace ck {
namespace {

constexpr int kRowsAPiece = 4;

float load_scale(const uint8_t* at, ScaleType type) {
  if (type == ScaleType::f32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return type == ScaleType::f16 ? float_from_half(bits) : float_from_bfloat16(bits);
}

ScaleType element_type(Layout layout) {
  return layout == Layout::f16    ? ScaleType::f16
         : layout == Layout::bf16 ? ScaleType::bf16
                                  : ScaleType::f32;
}

/// Adds a plane of one lane to its codes, from bit `low` on.
void add_plane(const uint8_t* lane, int low, int bits, uint8_t (&q)[kGroupColumns]) {
  const uint32_t mask = ((1u << bits) - 1) * 0x01010101;
  for (int j = 0; j < 8; j++) {
    uint32_t vector, quad;
    std::memcpy(&vector, lane + 64 * (j % bits), 4);
    std::memcpy(&quad, q + 4 * j, 4);
    quad |= (vector >> bits * (j / bits) & mask) << low;
    std::memcpy(q + 4 * j, &quad, 4);
  }
}

/// Codes of a group of one lane.
void load_group(Layout layout, const uint8_t* lane, uint8_t (&q)[kGroupColumns]) {
  const int bits = code_bits(layout), first = first_plane_bits(layout);
  std::memset(q, 0, sizeof q);
  add_plane(lane, 0, first, q);
  if (bits > first) add_plane(lane + 64 * first, first, bits - first, q);
}

void unpack_quantized(const PanelFormat& format, const uint8_t* panel, int lane, int columns,
                      float* out) {
#pragma STDC FP_CONTRACT OFF  // the same bits whether the machine has fused multiply-adds or not
  const int zero = zero_point(format.layout);
  const size_t scale_bytes = format.scale_bytes();
  for (int g = 0; g < columns / kGroupColumns; g++, out += kGroupColumns) {
    const uint8_t* at = panel + format.scales_offset(g / format.groups_per_scale);
    float scale = load_scale(at + lane * scale_bytes, format.scale_type);
    float bias = 0, last_scale = scale;  // the latter of the columns from 16 on
    if (has_bias(format.layout) || has_half_scales(format.layout)) {
      (has_bias(format.layout) ? bias : last_scale) =
          load_scale(at + (kPanelRows + lane) * scale_bytes, format.scale_type);
    }
    uint8_t q[kGroupColumns];
    load_group(format.layout, panel + format.values_offset(g) + 4 * lane, q);
    for (int k = 0; k < kGroupColumns; k++) {
      out[k] = (k < 16 ? scale : last_scale) * static_cast<float>(q[k] - zero) + bias;
    }
  }
}

void unpack_row(const ck_matrix& table, int row, float* out) {
  const Section* section = table.sections.data();
  while (row >= section->first_row + section->rows) section++;
  row -= section->first_row;
  const PanelFormat& format = section->format;
  const uint8_t* panel = section->panels + row / kPanelRows * format.panel_bytes(table.columns);
  const int lane = row % kPanelRows;
  if (!is_float(format.layout)) {
    unpack_quantized(format, panel, lane, table.columns, out);
    return;
  }
  const ScaleType type = element_type(format.layout);
  for (int k = 0; k < table.columns; k++) {
    out[k] = load_scale(panel + format.element_offset(lane, k), type);
  }
}

class Embed final : public Node {
 public:
  Embed(const ck_matrix& table, RowBuffer out) : table_(table), out_(out) {}

  void run(Worker& worker, const Step& step) override {
    worker.for_each((step.rows + kRowsAPiece - 1) / kRowsAPiece, [&](int piece) {
      int last = std::min((piece + 1) * kRowsAPiece, step.rows);
      for (int row = piece * kRowsAPiece; row < last; row++) {
        unpack_row(table_, step.tokens[row], out_.data + static_cast<size_t>(row) * out_.columns);
      }
    });
  }

 private:
  const ck_matrix& table_;
  RowBuffer out_;
};

}  // namespace

std::unique_ptr<Node> make_embed(const ck_matrix& table, RowBuffer out) {
  return std::make_unique<Embed>(table, out);
}

}  // namespace ck
