// linear of bfloat16 weights for ARM with the bfloat16 extension. bfdot adds a pair of products to
// a sum in float32; bfmmla adds two pairs, one after the other and rounded alike, so that rows
// alone and rows by twos have the same bits. Both round the sum of a pair, and what it is added to,
// to odd and take subnormal numbers for 0, whatever FPCR says of either. Only its bit EBF
// (FEAT_EBF16), which processes start without, makes them round once a pair, by FPCR's mode.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("dotprod,bf16"))), apply_to = function)

#include "neon.hpp"

namespace ck {

extern const LinearKernels* const kLinearNeon;

namespace {

/// Two chains of sums, of even and of odd quads of columns: one would wait for itself where there
/// is one row. While rows are multiplied by twos, sums[r] has the outputs 0 and 1 of the rows r and
/// r + 1, and sums[r + 1] their outputs 2 and 3.
struct DotBlock {
  template <int rows, int registers>
  static void multiply(const LinearTask& t, int panel, int output, int row) {
    const uint8_t* p = t.panels + panel * t.panel_bytes + 4 * output;
    const int pairs = (t.x.columns + 1) / 2;
    const bfloat16_t* x[rows];
    float32x4_t even[rows][registers], odd[rows][registers];
    for (int r = 0; r < rows; r++) {
      x[r] = reinterpret_cast<const bfloat16_t*>(t.x.bfloats) +
             static_cast<size_t>(row + r) * 2 * pairs;
      for (int n = 0; n < registers; n++) even[r][n] = odd[r][n] = vdupq_n_f32(0);
    }
    int pair = 0;
    for (; pair + 4 <= pairs; pair += 4, p += 256) {
      add_quad(p, 2 * pair, x, even);
      add_quad(p + 128, 2 * pair + 4, x, odd);
    }
    if (pair + 2 <= pairs) {
      add_quad(p, 2 * pair, x, even);
      pair += 2;
      p += 128;
    }
    for (int r = 0; r < rows; r++) {
      for (int n = 0; n < registers; n++) even[r][n] = vaddq_f32(even[r][n], odd[r][n]);
    }
    if constexpr (rows % 2 == 0) part_rows(even);
    if (pair < pairs) add_pair(p, 2 * pair, x, even);
    for (int r = 0; r < rows; r++) {
      for (int n = 0; n < registers; n++) {
        store(even[r][n], t, row + r, panel * kPanelRows + output + n * kLanes);
      }
    }
  }

 private:
  /// Two columns of 4 outputs.
  static bfloat16x8_t load_pair(const uint8_t* p) { return vreinterpretq_bf16_u8(vld1q_u8(p)); }

  /// The columns k to k + 3.
  template <int rows, int registers>
  static void add_quad(const uint8_t* p, int k, const bfloat16_t* const (&x)[rows],
                       float32x4_t (&sums)[rows][registers]) {
    __builtin_prefetch(p + kPrefetchBytes);
    __builtin_prefetch(p + kPrefetchBytes + 64);
    if constexpr (rows % 2 == 0) {
      add_matrices(p, k, x, sums);
    } else {
      add_pair(p, k, x, sums);
      add_pair(p + 64, k + 2, x, sums);
    }
  }

  template <int rows, int registers>
  static void add_pair(const uint8_t* p, int k, const bfloat16_t* const (&x)[rows],
                       float32x4_t (&sums)[rows][registers]) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      uint32_t columns;
      std::memcpy(&columns, x[r] + k, sizeof columns);
      const bfloat16x8_t pair = vreinterpretq_bf16_u32(vdupq_n_u32(columns));
#pragma clang loop unroll(full)
      for (int n = 0; n < registers; n++) {
        sums[r][n] = vbfdotq_f32(sums[r][n], load_pair(p + 16 * n), pair);
      }
    }
  }

  template <int rows, int registers>
  static void add_matrices(const uint8_t* p, int k, const bfloat16_t* const (&x)[rows],
                           float32x4_t (&sums)[rows][registers]) {
#pragma clang loop unroll(full)
    for (int n = 0; n < registers; n++) {
      const uint32x4_t a = vreinterpretq_u32_bf16(load_pair(p + 16 * n));
      const uint32x4_t b = vreinterpretq_u32_bf16(load_pair(p + 64 + 16 * n));
      const bfloat16x8_t low = vreinterpretq_bf16_u32(vzip1q_u32(a, b));
      const bfloat16x8_t high = vreinterpretq_bf16_u32(vzip2q_u32(a, b));
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r += 2) {
        const bfloat16x8_t columns = vcombine_bf16(vld1_bf16(x[r] + k), vld1_bf16(x[r + 1] + k));
        sums[r][n] = vbfmmlaq_f32(sums[r][n], columns, low);
        sums[r + 1][n] = vbfmmlaq_f32(sums[r + 1][n], columns, high);
      }
    }
  }

  /// From outputs of two rows to rows of 4 outputs.
  template <int rows, int registers>
  static void part_rows(float32x4_t (&sums)[rows][registers]) {
    for (int r = 0; r < rows; r += 2) {
      for (int n = 0; n < registers; n++) {
        const float32x4_t first = sums[r][n], last = sums[r + 1][n];
        sums[r][n] = vcombine_f32(vget_low_f32(first), vget_low_f32(last));
        sums[r + 1][n] = vcombine_f32(vget_high_f32(first), vget_high_f32(last));
      }
    }
  }
};

}  // namespace

void multiply_bfloat16_neon(const LinearTask& task) {
  if (task.format.float_activations) {
    return kLinearNeon->multiply[static_cast<int>(Layout::bf16)](task);
  }
  multiply_rows<DotBlock>(task);
}

void round_neon(const float* x, int columns, uint16_t* bfloats) {
  auto* to = reinterpret_cast<bfloat16_t*>(bfloats);
  int k = 0;
  for (; k + kLanes <= columns; k += kLanes) vst1_bf16(to + k, vcvt_bf16_f32(vld1q_f32(x + k)));
  if (k == columns) return;
  float last[kLanes] = {};
  std::memcpy(last, x + k, (columns - k) * sizeof *last);
  const bfloat16x4_t rounded = vcvt_bf16_f32(vld1q_f32(last));
  std::memcpy(to + k, &rounded, (columns - k + 1) / 2 * 2 * sizeof *to);
}

}  // namespace ck

#pragma clang attribute pop

#endif
