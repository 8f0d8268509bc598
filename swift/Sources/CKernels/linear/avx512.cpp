// linear for AVX-512 with VNNI: 16 outputs are the lanes of one register, so nothing is summed
// across lanes; an activation is broadcast from memory as the operand of vpdpbusd.
//
// What counts is the work of the two pipes that multiply: 8 vpdpbusd a group of 32 columns and row,
// and all else. A half's scale is a whole multiple of the row's unit, so that of weights of up to
// 4 bits, whose dot products fit 16 bits, one vpmaddwd scales and adds both halves, where floats
// take two multiplications.
#if defined(__x86_64__)

#include <immintrin.h>

#include "avx512_group.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

#include "avx512.hpp"

namespace ck {
namespace {

using Group = Avx512Group;

int32_t multiples(const Group& group) {
  int32_t both;
  __builtin_memcpy(&both, group.multiple, sizeof both);
  return both;
}

/// w[j] = or |= quad j of a plane, as bits `low` and up of bytes.
template <int bits, int low>
void load_plane(const uint8_t* p, __m512i (&w)[8]) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << bits) - 1) << low));
#pragma clang loop unroll(full)
  for (int j = 0; j < 8; j++) {
    const int right = bits * (j / bits) - low;
    __m512i field = _mm512_load_si512(p + 64 * (j % bits));
    if (right > 0) field = _mm512_srli_epi16(field, right);
    if (right < 0) field = _mm512_slli_epi16(field, -right);
    // mask & field, and that | w[j]
    w[j] = low == 0 ? _mm512_and_si512(mask, field)
                    : _mm512_ternarylogic_epi32(mask, field, w[j], 0xea);
  }
}

/// The 8 vectors of a group: vector j has columns 4 j ... 4 j + 3 of 16 outputs, as bytes.
template <Layout layout>
void load_group(const uint8_t* p, __m512i (&w)[8]) {
  constexpr int kFirst = first_plane_bits(layout), kSecond = code_bits(layout) - kFirst;
  if constexpr (kFirst == 8) {
    for (int j = 0; j < 8; j++) w[j] = _mm512_load_si512(p + 64 * j);
  } else {
    load_plane<kFirst, 0>(p, w);
  }
  if constexpr (kSecond > 0) load_plane<kSecond, kFirst>(p + 64 * kFirst, w);
}

/// What a half's dot product of codes has too much, where halves are not combined.
template <Layout layout>
__m512i first_dot(const Group& group, int half) {
  if constexpr (!has_half_scales(layout)) return _mm512_setzero_si512();
  return _mm512_set1_epi32(-zero_point(layout) * group.half_sum[half]);
}

/// The group's dot product of activations, in units of their row, with codes of weights.
template <Layout layout>
__m512 combine(__m512i low, __m512i high, const Group& group) {
  if constexpr (code_bits(layout) <= 4) {
    const __m512i first = _mm512_set1_epi32(0xffff);
    const __m512i pairs = _mm512_ternarylogic_epi32(first, low, _mm512_slli_epi32(high, 16), 0xca);
    const __m512i by = _mm512_set1_epi32(multiples(group));
    if constexpr (layout != Layout::s4) return _mm512_cvtepi32_ps(_mm512_madd_epi16(pairs, by));
    const __m512i offset = _mm512_set1_epi32(group.offset4);
    return _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(offset, pairs, by));
  } else {
    const __m512 by = _mm512_set1_ps(group.scale[0]), a = _mm512_cvtepi32_ps(low);
    const __m512 scaled = layout != Layout::s8
                              ? _mm512_mul_ps(a, by)
                              : _mm512_fmadd_ps(a, by, _mm512_set1_ps(group.offset8));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(group.scale[1]), scaled);
  }
}

/// A half's dot product, in units of the row.
__m512 scaled(__m512i dot, const Group& group, int half) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(group.scale[half]));
}

/// `rows` rows of x, from `row` on, times one panel.
template <Layout layout, int rows>
void multiply_block(const LinearTask& t, int panel, int row) {
  const int groups = t.x.columns / kGroupColumns;
  const uint8_t *values = t.panels + panel * t.panel_bytes, *scales = values;
  const int scales_a_block = t.format.scales_a_block();
  const size_t block_scale_bytes = t.format.block_scale_bytes();
  const size_t scale_stride = t.format.scale_stride();
  const size_t second_offset = kPanelRows * t.format.scale_bytes();
  const size_t group_bytes = t.format.group_bytes();
  constexpr int kLines = code_bits(layout) + 1;  // scales, and a group

  const int8_t* x[rows];
  const Group* x_groups[rows];
  __m512 sums[rows];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.values + static_cast<size_t>(row + r) * t.x.columns;
    x_groups[r] =
        reinterpret_cast<const Group*>(t.x.groups + static_cast<size_t>(row + r) * groups);
    sums[r] = _mm512_setzero_ps();
  }
  int scales_left = 0;  // in the block
  for (int first = 0; first < groups; first += t.format.groups_per_scale, scales += scale_stride) {
    if (scales_left == 0) {
      scales = values;
      values += block_scale_bytes;
      scales_left = scales_a_block;
    }
    scales_left--;
    const __m512 scale = load_scales(scales, t.format.scale_type);
    __m512 second;  // biases, or the second half's scales
    if constexpr (has_bias(layout) || has_half_scales(layout)) {
      second = load_scales(scales + second_offset, t.format.scale_type);
    }
    int last = first + t.format.groups_per_scale;
    if (last > groups) last = groups;
    for (int g = first; g < last; g++, values += group_bytes) {
      if constexpr (rows > 1) prefetch<kLines>(values - 64);
      __m512i w[8];
      load_group<layout>(values, w);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const Group& group = x_groups[r][g];
        const int32_t* quads = reinterpret_cast<const int32_t*>(x[r] + g * kGroupColumns);
        __m512i dots[2] = {first_dot<layout>(group, 0), first_dot<layout>(group, 1)};
        for (int j = 0; j < 8; j++)
          dots[j / 4] = _mm512_dpbusd_epi32(dots[j / 4], w[j], _mm512_set1_epi32(quads[j]));
        if constexpr (has_half_scales(layout)) {
          sums[r] = _mm512_fmadd_ps(scaled(dots[0], group, 0), scale, sums[r]);
          sums[r] = _mm512_fmadd_ps(scaled(dots[1], group, 1), second, sums[r]);
        } else {
          sums[r] = _mm512_fmadd_ps(combine<layout>(dots[0], dots[1], group), scale, sums[r]);
        }
        if constexpr (has_bias(layout)) {
          sums[r] = _mm512_fmadd_ps(second, _mm512_set1_ps(group.sum), sums[r]);
        }
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    store(_mm512_mul_ps(sums[r], _mm512_set1_ps(x_groups[r]->unit)), t, row + r,
          panel * kPanelRows);
  }
}

template <Layout layout>
struct QuantizedBlock {
  template <int rows>
  static void multiply(const LinearTask& t, int panel, int row) {
    multiply_block<layout, rows>(t, panel, row);
  }
};

template <Layout layout>
constexpr auto multiply = multiply_rows<QuantizedBlock<layout>>;

constexpr LinearKernels kKernels = {
    {multiply<Layout::u2>, multiply<Layout::u3>, multiply<Layout::u4>, multiply<Layout::s4>,
     multiply<Layout::u5>, multiply<Layout::u6>, multiply<Layout::u8>, multiply<Layout::s8>,
     multiply<Layout::h3>, multiply<Layout::h6>, multiply_float16_avx512,
     multiply_bfloat16_as_float_avx512, multiply_float32_avx512},
    quantize_avx512,
};

}  // namespace

extern const LinearKernels* const kLinearAvx512;
const LinearKernels* const kLinearAvx512 = &kKernels;

}  // namespace ck

#pragma clang attribute pop

#endif
