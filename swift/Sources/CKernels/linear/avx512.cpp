// linear for AVX-512 with VNNI: 16 outputs are the lanes of one register, so nothing is summed
// across lanes; an activation is broadcast from memory as the operand of vpdpbusd.
//
// What counts is the work of the two pipes that multiply: 8 vpdpbusd a group of 32 columns and row,
// and all else. A half's scale is a whole multiple of the row's unit, so that of 4-bit weights,
// whose dot products fit 16 bits, one vpmaddwd scales and adds both halves, where floats take two
// multiplications.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

namespace ck {
namespace {

constexpr int kRowBlock = 8;
constexpr float kMostMultiple = 32767;  // times 2 halves * 16 columns * 15 * 127 fits an int32

/// What stands in an ActivationGroup's place here: value = unit * multiple[half] * q.
struct alignas(32) Group {
  int16_t multiple[2];
  int32_t offset4;  // -8 * whole: what the zero point of s4 adds
  float scale[2];   // the multiples
  float sum;        // of multiple * q
  float offset8;    // -128 * sum
  float unit;       // of the row
};
static_assert(sizeof(Group) == sizeof(ActivationGroup));

int32_t multiples(const Group& group) {
  int32_t both;
  __builtin_memcpy(&both, group.multiple, sizeof both);
  return both;
}
// How far ahead of its reads a panel is fetched into the second cache, across panels, where
// computing leaves memory idle. A single row reads as fast as memory can: there the hardware's own
// prefetcher does better alone.
constexpr int kPrefetchBytes = 8192;

__m512 load_scales(const uint8_t* p, ScaleType type) {
  switch (type) {
    case ScaleType::f16:
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    case ScaleType::bf16:
      return _mm512_castsi512_ps(_mm512_slli_epi32(
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
    case ScaleType::f32:
      return _mm512_loadu_ps(p);
  }
}

/// The 8 vectors of a group: vector j has columns 4 j ... 4 j + 3 of 16 outputs, as bytes.
template <Layout layout>
void load_group(const uint8_t* p, __m512i (&w)[8]) {
  if constexpr (layout == Layout::u4 || layout == Layout::s4) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < 4; i++) {
      __m512i packed = _mm512_load_si512(p + 64 * i);
      w[i] = _mm512_and_si512(packed, low);
      w[4 + i] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), low);
    }
  } else {
    for (int j = 0; j < 8; j++) w[j] = _mm512_load_si512(p + 64 * j);
  }
}

/// The group's dot product of activations, in units of their row, with codes of weights.
template <Layout layout>
__m512 combine(__m512i low, __m512i high, const Group& group) {
  if constexpr (layout == Layout::u4 || layout == Layout::s4) {
    const __m512i first = _mm512_set1_epi32(0xffff);
    const __m512i pairs = _mm512_ternarylogic_epi32(first, low, _mm512_slli_epi32(high, 16), 0xca);
    const __m512i by = _mm512_set1_epi32(multiples(group));
    if constexpr (layout == Layout::u4) return _mm512_cvtepi32_ps(_mm512_madd_epi16(pairs, by));
    const __m512i offset = _mm512_set1_epi32(group.offset4);
    return _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(offset, pairs, by));
  } else {
    const __m512 by = _mm512_set1_ps(group.scale[0]), a = _mm512_cvtepi32_ps(low);
    const __m512 scaled = layout == Layout::u8
                              ? _mm512_mul_ps(a, by)
                              : _mm512_fmadd_ps(a, by, _mm512_set1_ps(group.offset8));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(group.scale[1]), scaled);
  }
}

template <int lines>
void prefetch(const uint8_t* p) {
  for (int i = 0; i < lines; i++) _mm_prefetch(p + kPrefetchBytes + 64 * i, _MM_HINT_T1);
}

void store(__m512 sum, const LinearTask& t, int row, int column) {
  int left = t.outputs - column;
  __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  size_t offset = row * t.out_stride + column;
  if (t.residual != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, t.residual + offset));
  }
  _mm512_mask_storeu_ps(t.out + offset, mask, sum);
}

/// `rows` rows of x, from `row` on, times one panel.
template <Layout layout, int rows>
void multiply_block(const LinearTask& t, int panel, int row) {
  const int groups = t.x.columns / kGroupColumns;
  const uint8_t *values = t.panels + panel * t.panel_bytes, *scales = values;
  const int scales_a_block = t.format.scales_a_block();
  const size_t block_scale_bytes = t.format.block_scale_bytes();
  const size_t scale_stride = t.format.scale_stride();
  const size_t bias_offset = kPanelRows * t.format.scale_bytes();
  const size_t group_bytes = t.format.group_bytes();
  constexpr int kLines = layout == Layout::u4 || layout == Layout::s4 ? 5 : 9;

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
    __m512 bias;
    if constexpr (has_bias(layout)) bias = load_scales(scales + bias_offset, t.format.scale_type);
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
        __m512i dots[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int j = 0; j < 8; j++)
          dots[j / 4] = _mm512_dpbusd_epi32(dots[j / 4], w[j], _mm512_set1_epi32(quads[j]));
        sums[r] = _mm512_fmadd_ps(combine<layout>(dots[0], dots[1], group), scale, sums[r]);
        if constexpr (has_bias(layout)) {
          sums[r] = _mm512_fmadd_ps(bias, _mm512_set1_ps(group.sum), sums[r]);
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
__m512 load_floats(const uint8_t* p) {
  if constexpr (layout == Layout::f16) return load_scales(p, ScaleType::f16);
  if constexpr (layout == Layout::bf16) return load_scales(p, ScaleType::bf16);
  return load_scales(p, ScaleType::f32);
}

template <Layout layout, int rows>
void multiply_float_block(const LinearTask& t, int panel, int row) {
  const uint8_t* p = t.panels + panel * t.panel_bytes;
  constexpr int kStride = layout == Layout::f32 ? 64 : 32;
  const float* x[rows];
  __m512 sums[rows];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.floats + static_cast<size_t>(row + r) * t.x.columns;
    sums[r] = _mm512_setzero_ps();
  }
  for (int k = 0; k < t.x.columns; k++, p += kStride) {
    if constexpr (rows > 1) prefetch<1>(p);
    __m512 w = load_floats<layout>(p);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      sums[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[r][k]), sums[r]);
    }
  }
  for (int r = 0; r < rows; r++) store(sums[r], t, row + r, panel * kPanelRows);
}

template <Layout layout, int rows>
void multiply_panels(const LinearTask& t, int row) {
  for (int panel = 0; panel < t.panel_count; panel++) {
    if constexpr (is_float(layout)) {
      multiply_float_block<layout, rows>(t, panel, row);
    } else {
      multiply_block<layout, rows>(t, panel, row);
    }
  }
}

/// Rows in blocks, so that a block's activations stay in the first cache over all panels.
template <Layout layout>
void multiply(const LinearTask& t) {
  int row = 0;
  for (; row + kRowBlock <= t.x.rows; row += kRowBlock) multiply_panels<layout, kRowBlock>(t, row);
  for (; row + 4 <= t.x.rows; row += 4) multiply_panels<layout, 4>(t, row);
  for (; row + 2 <= t.x.rows; row += 2) multiply_panels<layout, 2>(t, row);
  for (; row < t.x.rows; row++) multiply_panels<layout, 1>(t, row);
}

/// The lanes of four registers, brought down to one lane each: combine(v[0] lanes), ...
template <__m128i (*combine)(__m128i, __m128i), __m256i (*combine_halves)(__m256i, __m256i)>
__m128i reduce_four(const __m512i (&v)[4]) {
  __m128i quarter[4];
  for (int i = 0; i < 4; i++) {
    __m256i half = combine_halves(_mm512_castsi512_si256(v[i]), _mm512_extracti64x4_epi64(v[i], 1));
    quarter[i] = combine(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  __m128i ab = combine(_mm_unpacklo_epi32(quarter[0], quarter[1]),
                       _mm_unpackhi_epi32(quarter[0], quarter[1]));
  __m128i cd = combine(_mm_unpacklo_epi32(quarter[2], quarter[3]),
                       _mm_unpackhi_epi32(quarter[2], quarter[3]));
  return combine(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

__m128i larger(__m128i a, __m128i b) { return _mm_max_epi32(a, b); }
__m256i larger_half(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
__m128i plus(__m128i a, __m128i b) { return _mm_add_epi32(a, b); }
__m256i plus_half(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }

/// Two groups, or one with zeros: so what is done once a half is done for four at a time.
struct FourHalves {
  __m512 v[4];

  FourHalves(const float* x, bool both) {
    for (int i = 0; i < 4; i++) {
      v[i] = both || i < 2 ? _mm512_loadu_ps(x + 16 * i) : _mm512_setzero_ps();
    }
  }
  /// The largest magnitude of each half. As integers, magnitudes order like floats, with infinity
  /// and then NaN above all.
  __m128i largest() const {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i bits[4];
    for (int i = 0; i < 4; i++) bits[i] = _mm512_and_si512(_mm512_castps_si512(v[i]), magnitude);
    return reduce_four<larger, larger_half>(bits);
  }
};

/// What a row's quantization needs of its largest magnitude.
struct Scaling {
  float multiples;  // a half's multiple over its largest magnitude
  float inverse;    // 1 / unit
  float unit;
};

Scaling scaling(int32_t largest_bits) {
  const float largest = __builtin_bit_cast(float, largest_bits);
  if (largest_bits >= 0x7f800000) return {0, 0, __builtin_nanf("")};
  if (largest < 1e-31f) return {0, 0, 0};  // 1 / unit would overflow
  constexpr float kSteps = 127 * kMostMultiple;
  return {kMostMultiple / largest, kSteps / largest, largest / kSteps};
}

/// Two groups, or the first alone.
void quantize_groups(const FourHalves& halves, bool both, __m128 largest, const Scaling& by,
                     int8_t* values, Group* groups) {
  const __m128 exact = _mm_mul_ps(largest, _mm_set1_ps(by.multiples));
  const __m128 scale = _mm_min_ps(_mm_ceil_ps(exact), _mm_set1_ps(kMostMultiple));
  const __mmask8 some = _mm_cmp_ps_mask(scale, _mm_setzero_ps(), _CMP_GT_OQ);
  alignas(16) float inverse[4], scales[4];
  _mm_store_ps(inverse, _mm_maskz_div_ps(some, _mm_set1_ps(by.inverse), scale));
  _mm_store_ps(scales, scale);
  __m512i q[4];
  for (int i = 0; i < 4; i++) {
    q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(halves.v[i], _mm512_set1_ps(inverse[i])));
    if (both || i < 2) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(values + 16 * i), _mm512_cvtsepi32_epi8(q[i]));
    }
  }
  alignas(16) int32_t sums[4];
  const __m128i sum = _mm_mullo_epi32(reduce_four<plus, plus_half>(q), _mm_cvtps_epi32(scale));
  _mm_store_si128(reinterpret_cast<__m128i*>(sums), sum);
  for (int g = 0; g < (both ? 2 : 1); g++) {
    const int32_t whole = sums[2 * g] + sums[2 * g + 1];
    const float first = scales[2 * g], second = scales[2 * g + 1];
    groups[g] = {{static_cast<int16_t>(first), static_cast<int16_t>(second)},
                 -8 * whole,
                 {first, second},
                 static_cast<float>(whole),
                 -128 * static_cast<float>(whole),
                 by.unit};
  }
}

void quantize(const float* x, int columns, int8_t* values, ActivationGroup* to) {
  const int count = columns / kGroupColumns;
  auto* groups = reinterpret_cast<Group*>(to);
  __m128i largest = _mm_setzero_si128();
  for (int g = 0; g < count; g += 2) {
    const bool both = g + 1 < count;
    const __m128i of_halves = FourHalves(x + g * kGroupColumns, both).largest();
    largest = larger(largest, of_halves);
    // Kept where the scales will be.
    const __m128 magnitudes = _mm_castsi128_ps(of_halves);
    _mm_storel_pi(reinterpret_cast<__m64*>(groups[g].scale), magnitudes);
    if (both) _mm_storeh_pi(reinterpret_cast<__m64*>(groups[g + 1].scale), magnitudes);
  }
  largest = larger(largest, _mm_shuffle_epi32(largest, 0x4e));
  largest = larger(largest, _mm_shuffle_epi32(largest, 0xb1));
  const Scaling by = scaling(_mm_cvtsi128_si32(largest));
  if (by.inverse == 0) {
    __builtin_memset(values, 0, columns);
    for (int g = 0; g < count; g++) groups[g] = {{0, 0}, 0, {0, 0}, 0, 0, by.unit};
    return;
  }
  for (int g = 0; g < count; g += 2) {
    const bool both = g + 1 < count;
    __m128 magnitudes = _mm_setzero_ps();
    magnitudes = _mm_loadl_pi(magnitudes, reinterpret_cast<const __m64*>(groups[g].scale));
    if (both) {
      magnitudes = _mm_loadh_pi(magnitudes, reinterpret_cast<const __m64*>(groups[g + 1].scale));
    }
    quantize_groups(FourHalves(x + g * kGroupColumns, both), both, magnitudes, by,
                    values + g * kGroupColumns, groups + g);
  }
}

constexpr LinearKernels kKernels = {
    {multiply<Layout::u4>, multiply<Layout::s4>, multiply<Layout::u8>, multiply<Layout::s8>,
     multiply<Layout::f16>, multiply<Layout::bf16>, multiply<Layout::f32>},
    quantize,
};

}  // namespace

extern const LinearKernels* const kLinearAvx512;
const LinearKernels* const kLinearAvx512 = &kKernels;

}  // namespace ck

#pragma clang attribute pop

#endif
