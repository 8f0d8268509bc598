// linear for ARM: 4 outputs are the lanes of a register. Weights are signed here: bytes have their
// zero point moved by 128. Included by one file per way to make integer dot products, after it has
// defined
//   constexpr bool kMatrices;
// whether smmla (8 columns of two rows times two outputs) does pairs of rows; sdot, with the
// activations by element, does the rest. All has internal linkage.

#include "neon.hpp"

namespace ck {
namespace {

float32x4_t load_scales(const uint8_t* p, ScaleType type) {
  switch (type) {
    case ScaleType::f16:
      return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
    case ScaleType::bf16:
      return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
    case ScaleType::f32:
      return vreinterpretq_f32_u8(vld1q_u8(p));
  }
}

/// What a half's dot product of signed weights lacks.
template <Layout layout>
int32_t first_dot(const ActivationGroup& group, int half) {
  if constexpr (layout == Layout::s4) return group.offset4[half];
  if constexpr (layout == Layout::u8) return -group.offset8[half];
  if constexpr (has_half_scales(layout)) return group.offset4[half] / 8 * zero_point(layout);
  return 0;
}

/// Quad j of a plane at `p`, as bits `low` and up of bytes. See layout.hpp.
template <int bits, int low>
uint8x16_t load_field(const uint8_t* p, int j) {
  const int left = low - bits * (j / bits);
  uint8x16_t field = vld1q_u8(p + 64 * (j % bits));
  if (left != 0) field = vshlq_u8(field, vdupq_n_s8(static_cast<int8_t>(left)));
  if (left == bits - 8) return field;  // the topmost bits: nothing is left of the others
  return vandq_u8(field, vdupq_n_u8(((1 << bits) - 1) << low));
}

/// 4 columns, number `quad` of their half, of 4 outputs.
template <Layout layout, int half>
int8x16_t load_weights(const uint8_t* values, int quad) {
  constexpr int kFirst = first_plane_bits(layout), kSecond = code_bits(layout) - kFirst;
  const int j = 4 * half + quad;
  if constexpr (kFirst == 8) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(values + 64 * j), vdupq_n_u8(128)));
  }
  uint8x16_t codes = load_field<kFirst, 0>(values, j);
  if constexpr (kSecond > 0) {
    codes = vorrq_u8(codes, load_field<kSecond, kFirst>(values + 64 * kFirst, j));
  }
  return vreinterpretq_s8_u8(codes);
}

template <Layout layout, int half, int quad, int rows, int registers>
void add_quad(const uint8_t* values, const int8x16_t (&columns)[rows],
              int32x4_t (&dots)[rows][registers]) {
#pragma clang loop unroll(full)
  for (int n = 0; n < registers; n++) {
    int8x16_t w = load_weights<layout, half>(values + 16 * n, quad);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) dots[r][n] = vdotq_laneq_s32(dots[r][n], w, columns[r], quad);
  }
}

/// dots[r] += half a group of 32 columns of row r times 4 outputs a register.
template <Layout layout, int half, int rows, int registers>
void add_quads(const uint8_t* values, const int8_t* const (&x)[rows],
               int32x4_t (&dots)[rows][registers]) {
  int8x16_t columns[rows];
  for (int r = 0; r < rows; r++) columns[r] = vld1q_s8(x[r] + 16 * half);
  add_quad<layout, half, 0>(values, columns, dots);
  add_quad<layout, half, 1>(values, columns, dots);
  add_quad<layout, half, 2>(values, columns, dots);
  add_quad<layout, half, 3>(values, columns, dots);
}

/// The same by matrices of two rows and two outputs.
template <Layout layout, int half, int rows, int registers>
void add_matrices(const uint8_t* values, const int8_t* const (&x)[rows],
                  int32x4_t (&dots)[rows][registers]) {
#pragma clang loop unroll(full)
  for (int n = 0; n < registers; n++) {
    int32x4_t first[rows / 2], last[rows / 2];  // outputs 0 and 1 of two rows; outputs 2 and 3
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r += 2) {
      first[r / 2] = vcombine_s32(vget_low_s32(dots[r][n]), vget_low_s32(dots[r + 1][n]));
      last[r / 2] = vcombine_s32(vget_high_s32(dots[r][n]), vget_high_s32(dots[r + 1][n]));
    }
#pragma clang loop unroll(full)
    for (int quad = 0; quad < 4; quad += 2) {
      int32x4_t a = vreinterpretq_s32_s8(load_weights<layout, half>(values + 16 * n, quad));
      int32x4_t b = vreinterpretq_s32_s8(load_weights<layout, half>(values + 16 * n, quad + 1));
      int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(a, b));
      int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(a, b));
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r += 2) {
        const int offset = 16 * half + 4 * quad;
        int8x16_t columns = vcombine_s8(vld1_s8(x[r] + offset), vld1_s8(x[r + 1] + offset));
        first[r / 2] = vmmlaq_s32(first[r / 2], columns, low);
        last[r / 2] = vmmlaq_s32(last[r / 2], columns, high);
      }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r += 2) {
      dots[r][n] = vcombine_s32(vget_low_s32(first[r / 2]), vget_low_s32(last[r / 2]));
      dots[r + 1][n] = vcombine_s32(vget_high_s32(first[r / 2]), vget_high_s32(last[r / 2]));
    }
  }
}

/// scaled[r] += half a group of 32 columns of row r times 4 outputs a register, before the weights'
/// scale; or = where that is the half's own.
template <Layout layout, int half, int rows, int registers>
void add_half(const uint8_t* values, const int8_t* const (&x)[rows],
              const ActivationGroup* const (&groups)[rows], int g,
              float32x4_t (&scaled)[rows][registers]) {
  int32x4_t dots[rows][registers];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    for (int n = 0; n < registers; n++)
      dots[r][n] = vdupq_n_s32(first_dot<layout>(groups[r][g], half));
  }
  if constexpr (kMatrices && rows % 2 == 0) {
    add_matrices<layout, half>(values, x, dots);
  } else {
    add_quads<layout, half>(values, x, dots);
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const float scale = groups[r][g].scale[half];
    for (int n = 0; n < registers; n++) {
      float32x4_t dot = vcvtq_f32_s32(dots[r][n]);
      scaled[r][n] = half == 0 || has_half_scales(layout) ? vmulq_n_f32(dot, scale)
                                                          : vfmaq_n_f32(scaled[r][n], dot, scale);
    }
  }
}

template <int rows, int registers>
void add_scaled(const float32x4_t (&scaled)[rows][registers], const float32x4_t (&scale)[registers],
                float32x4_t (&sums)[rows][registers]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    for (int n = 0; n < registers; n++) sums[r][n] = vfmaq_f32(sums[r][n], scaled[r][n], scale[n]);
  }
}

/// `rows` rows of x, from `row` on, times the 4 * registers outputs of a panel from `output` on.
template <Layout layout, int rows, int registers>
void multiply_part(const LinearTask& t, int panel, int output, int row) {
  const int groups = t.x.columns / kGroupColumns;
  const size_t scale_bytes = t.format.scale_bytes();
  const size_t scale_stride = t.format.scale_stride();
  const size_t second_offset = kPanelRows * scale_bytes;
  const size_t group_bytes = t.format.group_bytes();
  const uint8_t *at = t.panels + panel * t.panel_bytes, *scales = at;
  const int scales_a_block = t.format.scales_a_block();
  const size_t block_scale_bytes = t.format.block_scale_bytes();

  const int8_t* x[rows];
  const ActivationGroup* x_groups[rows];
  float32x4_t sums[rows][registers];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.values + static_cast<size_t>(row + r) * t.x.columns;
    x_groups[r] = t.x.groups + static_cast<size_t>(row + r) * groups;
    for (int n = 0; n < registers; n++) sums[r][n] = vdupq_n_f32(0);
  }
  int scales_left = 0;  // in the block
  for (int first = 0; first < groups; first += t.format.groups_per_scale, scales += scale_stride) {
    if (scales_left == 0) {
      scales = at + output * scale_bytes;
      at += block_scale_bytes;
      scales_left = scales_a_block;
    }
    scales_left--;
    float32x4_t scale[registers], second[registers];  // biases, or the second half's scales
    for (int n = 0; n < registers; n++) {
      const uint8_t* from = scales + n * kLanes * scale_bytes;
      scale[n] = load_scales(from, t.format.scale_type);
      if constexpr (has_bias(layout) || has_half_scales(layout)) {
        second[n] = load_scales(from + second_offset, t.format.scale_type);
      }
    }
    int last = first + t.format.groups_per_scale;
    if (last > groups) last = groups;
    for (int g = first; g < last; g++, at += group_bytes) {
      const uint8_t* values = at + 4 * output;
      for (size_t i = 0; i < group_bytes; i += 64) __builtin_prefetch(values + kPrefetchBytes + i);
      float32x4_t scaled[rows][registers];
      add_half<layout, 0>(values, x, x_groups, g, scaled);
      if constexpr (has_half_scales(layout)) add_scaled(scaled, scale, sums);
      add_half<layout, 1>(values, x, x_groups, g, scaled);
      add_scaled(scaled, has_half_scales(layout) ? second : scale, sums);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const float sum = x_groups[r][g].sum;
        for (int n = 0; n < registers; n++) {
          if constexpr (has_bias(layout)) sums[r][n] = vfmaq_n_f32(sums[r][n], second[n], sum);
        }
        x[r] += kGroupColumns;
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int n = 0; n < registers; n++) {
      store(sums[r][n], t, row + r, panel * kPanelRows + output + n * kLanes);
    }
  }
}

/// sums[r][n] += w * column k of row r
template <int rows, int registers>
void add_column(float32x4_t w, int n, int k, const float* const (&x)[rows],
                float32x4_t (&sums)[rows][registers]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) sums[r][n] = vfmaq_n_f32(sums[r][n], w, x[r][k]);
}

template <Layout layout, int rows, int registers>
void multiply_float_part(const LinearTask& t, int panel, int output, int row) {
  constexpr int kColumns = layout == Layout::bf16 ? 2 : 1;  // at a time
  constexpr int kBytes = layout == Layout::f16 ? 2 : 4;     // of an output's
  const uint8_t* p = t.panels + panel * t.panel_bytes + output * kBytes;
  const float* x[rows];
  float32x4_t sums[rows][registers];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.floats + static_cast<size_t>(row + r) * t.x.columns;
    for (int n = 0; n < registers; n++) sums[r][n] = vdupq_n_f32(0);
  }
  for (int k = 0; k < t.x.columns; k += kColumns, p += kPanelRows * kBytes) {
    __builtin_prefetch(p + kPrefetchBytes);
#pragma clang loop unroll(full)
    for (int n = 0; n < registers; n++) {
      const uint8_t* from = p + n * kLanes * kBytes;
      if constexpr (layout == Layout::bf16) {  // the upper halves of floats
        const uint32x4_t pair = vreinterpretq_u32_u8(vld1q_u8(from));
        const uint32x4_t second = vandq_u32(pair, vdupq_n_u32(0xffff0000));
        add_column(vreinterpretq_f32_u32(vshlq_n_u32(pair, 16)), n, k, x, sums);
        if (k + 1 < t.x.columns) add_column(vreinterpretq_f32_u32(second), n, k + 1, x, sums);
      } else {
        const ScaleType type = layout == Layout::f16 ? ScaleType::f16 : ScaleType::f32;
        add_column(load_scales(from, type), n, k, x, sums);
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int n = 0; n < registers; n++) {
      store(sums[r][n], t, row + r, panel * kPanelRows + output + n * kLanes);
    }
  }
}

template <Layout layout>
struct Block {
  template <int rows, int registers>
  static void multiply(const LinearTask& t, int panel, int output, int row) {
    if constexpr (is_float(layout)) {
      multiply_float_part<layout, rows, registers>(t, panel, output, row);
    } else {
      multiply_part<layout, rows, registers>(t, panel, output, row);
    }
  }
};

template <Layout layout>
void multiply(const LinearTask& t) {
  multiply_rows<Block<layout>>(t);
}

/// 16 columns: their scale, and the sum of the integers.
float quantize_half(const float* x, int8_t* values, int32_t* sum) {
  // As integers, magnitudes order like floats, with infinity and then NaN above all.
  constexpr uint32_t kInfinity = 0x7f800000;
  constexpr float kSmallest = 4e-37f;  // below it 127 / largest overflows
  float32x4_t v[4];
  int16x4_t q[4];
  uint32x4_t bits = vdupq_n_u32(0);
  int32x4_t sums = vdupq_n_s32(0);
  for (int i = 0; i < 4; i++) {
    v[i] = vld1q_f32(x + kLanes * i);
    bits = vmaxq_u32(bits, vreinterpretq_u32_f32(vabsq_f32(v[i])));
  }
  uint32_t largest_bits = vmaxvq_u32(bits);
  float largest = __builtin_bit_cast(float, largest_bits);
  bool finite = largest_bits < kInfinity;
  float inverse = finite && largest > kSmallest ? 127.0f / largest : 0.0f;
  for (int i = 0; i < 4; i++) {
    int32x4_t whole = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse));
    sums = vaddq_s32(sums, whole);
    q[i] = vqmovn_s32(whole);
  }
  vst1_s8(values, vqmovn_s16(vcombine_s16(q[0], q[1])));
  vst1_s8(values + 8, vqmovn_s16(vcombine_s16(q[2], q[3])));
  *sum = finite ? vaddvq_s32(sums) : 0;
  return !finite ? __builtin_nanf("") : largest > kSmallest ? largest / 127.0f : 0.0f;
}

void quantize(const float* x, int columns, int8_t* values, ActivationGroup* groups) {
  for (int g = 0; g < columns / kGroupColumns; g++, x += kGroupColumns, values += kGroupColumns) {
    ActivationGroup group{};
    for (int half = 0; half < 2; half++) {
      int32_t sum;
      group.scale[half] = quantize_half(x + 16 * half, values + 16 * half, &sum);
      group.offset4[half] = -8 * sum;
      group.offset8[half] = -128 * sum;
      group.sum += group.scale[half] * static_cast<float>(sum);
    }
    groups[g] = group;
  }
}

constexpr LinearKernels kKernels = {
    {multiply<Layout::u2>, multiply<Layout::u3>, multiply<Layout::u4>, multiply<Layout::s4>,
     multiply<Layout::u5>, multiply<Layout::u6>, multiply<Layout::u8>, multiply<Layout::s8>,
     multiply<Layout::h3>, multiply<Layout::h6>, multiply<Layout::f16>, multiply<Layout::bf16>,
     multiply<Layout::f32>},
    quantize,
};

}  // namespace
}  // namespace ck
