// A matrix in memory as kernels read it.
//
// 16 rows of W (outputs) are interleaved into a panel. A panel is read from front to back, one
// stream of memory that prefetchers follow: scales lie right before the values that they are of.
//   quantized: blocks of 1 or 2 scale groups, as many as fill 64 bytes with scales:
//              [scale groups][scales 16, and 16 biases or scales of the second half of a group, or
//              none], padded to 64 bytes, then
//              [groups of 32 columns][vectors of 64 bytes]: lane n of a vector is 4 bytes of row n
//              The vectors are planes: of one of b bits, which is b vectors, vector j % b has
//              columns 4 j ... 4 j + 3 in its bytes' bits from b * (j / b) on. 2, 4 and 8 bits are
//              one plane; 3 are a plane of the low 2 and one of the high bit; 5 and 6 a plane of
//              the low 4 and one of the rest. So the nibbles of GGUF's blocks are transposed as
//              they are.
//   f16, f32:  [columns][16]
//   bf16:      [pairs of columns][16][2]: what vdpbf16ps and bfdot multiply, and 32 bits from which
//              a shift and a mask make two floats; the last pair may lack its second column, and
//              has 0
// All instruction sets share this layout: a 64-byte vector is one, two or four registers. The last
// panel of a section is padded with zero rows. See ckernels.h for the formats it is made from.
#ifndef CK_LAYOUT_HPP
#define CK_LAYOUT_HPP

#include <cstddef>
#include <cstdint>

namespace ck {

constexpr int kPanelRows = 16;
constexpr int kGroupColumns = 32;

/// u: scale * q + bias. s and h: scale * (q - zero_point); h has a scale for each 16 columns.
enum class Layout : uint8_t { u2, u3, u4, s4, u5, u6, u8, s8, h3, h6, f16, bf16, f32 };
constexpr int kLayouts = 13;

enum class ScaleType : uint8_t { f16, bf16, f32 };

constexpr bool is_float(Layout layout) { return layout >= Layout::f16; }
constexpr bool has_half_scales(Layout layout) {
  return layout == Layout::h3 || layout == Layout::h6;
}
constexpr bool has_bias(Layout layout) {
  return !is_float(layout) && layout != Layout::s4 && layout != Layout::s8 &&
         !has_half_scales(layout);
}
/// What a code of 0 lies below zero.
constexpr int zero_point(Layout layout) {
  return layout == Layout::s4   ? 8
         : layout == Layout::s8 ? 128
         : layout == Layout::h3 ? 4
         : layout == Layout::h6 ? 32
                                : 0;
}

/// Of a quantized layout; also the 64-byte vectors of a group of 32 columns.
constexpr int code_bits(Layout layout) {
  constexpr int kBits[] = {2, 3, 4, 4, 5, 6, 8, 8, 3, 6};
  return kBits[static_cast<int>(layout)];
}
/// Bits in the first of at most two planes.
constexpr int first_plane_bits(Layout layout) {
  const int bits = code_bits(layout);
  return bits == 8 ? 8 : bits >= 4 ? 4 : 2;
}

/// How the weights of a section are stored.
struct PanelFormat {
  Layout layout;
  ScaleType scale_type;
  int groups_per_scale;  // groups of 32 columns that share a scale: 1, 2 or 4
  // Of bf16: a float32 matrix that happens to fit, whose activations are not to be rounded.
  bool float_activations = false;

  bool operator==(const PanelFormat&) const = default;

  size_t scale_bytes() const { return scale_type == ScaleType::f32 ? 4 : 2; }
  /// Bytes of a scale group's scales and biases.
  size_t scale_stride() const {
    return kPanelRows * scale_bytes() * (has_bias(layout) || has_half_scales(layout) ? 2 : 1);
  }
  /// Bytes of a group of 32 columns of a panel.
  size_t group_bytes() const { return 64 * code_bits(layout); }
  /// Scale groups whose scales lie together.
  int scales_a_block() const { return scale_stride() < 64 ? 2 : 1; }
  /// Bytes of a block's scales.
  size_t block_scale_bytes() const { return scales_a_block() * scale_stride(); }
  /// Where the scales of a scale group start in a panel.
  size_t scales_offset(int scale_group) const {
    return scale_group / scales_a_block() * block_bytes() +
           scale_group % scales_a_block() * scale_stride();
  }
  /// Where the values of a group of 32 columns start in a panel.
  size_t values_offset(int group) const {
    int groups = scales_a_block() * groups_per_scale;
    return group / groups * block_bytes() + block_scale_bytes() + group % groups * group_bytes();
  }
  /// Bytes of a value of a float layout.
  size_t element_bytes() const { return layout == Layout::f32 ? 4 : 2; }
  /// Where a value of a float layout starts in a panel.
  size_t element_offset(int row, int column) const {
    size_t index = layout == Layout::bf16 ? (column / 2 * kPanelRows + row) * 2 + column % 2
                                          : column * kPanelRows + row;
    return index * element_bytes();
  }
  size_t panel_bytes(int columns) const {
    if (is_float(layout)) {
      int stored = layout == Layout::bf16 ? (columns + 1) / 2 * 2 : columns;
      return (element_bytes() * kPanelRows * stored + 63) / 64 * 64;
    }
    int groups = columns / kGroupColumns, a_block = scales_a_block() * groups_per_scale;
    return (groups + a_block - 1) / a_block * block_scale_bytes() + groups * group_bytes();
  }

 private:
  size_t block_bytes() const {
    return block_scale_bytes() + scales_a_block() * groups_per_scale * group_bytes();
  }
};

}  // namespace ck

#endif  // CK_LAYOUT_HPP
