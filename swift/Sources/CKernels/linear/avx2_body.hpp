// linear for registers of 8 lanes: a panel's 16 outputs are two registers. Included by one file per
// way to make integer dot products, after it has defined, by Layout,
//   kQuadsAStep              quads of columns that add_products takes
//   Codes, Columns           those of 8 outputs, and of a row
//   load_codes(values, quad), load_columns(x, quad)
//   add_products(codes, columns, first, sum)   sum += their products; = where that is the first
//   whole_dots(sum, group, half)               the dot products that a half's sum stands for
// and times_multiple(sum, group, half), those times the half's multiple, of codes of up to 4 bits.
// All has internal linkage.

namespace ck {
namespace {

constexpr int kLanes = 8;
constexpr int kRowBlock = 4;
constexpr int kPrefetchBytes = 2048;  // how far ahead of its own reads; not for a single row

__m256 load_scales(const uint8_t* p, ScaleType type) {
  switch (type) {
    case ScaleType::f16:
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    case ScaleType::bf16:
      return _mm256_castsi256_ps(_mm256_slli_epi32(
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
    case ScaleType::f32:
      return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
}

template <int lines>
void prefetch(const uint8_t* p) {
  for (int i = 0; i < lines; i++) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBytes + 64 * i), _MM_HINT_T0);
  }
}

void store(__m256 sum, const LinearTask& t, int row, int column) {
  __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(t.outputs - column),
                                    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  size_t offset = row * t.out_stride + column;
  if (t.residual != nullptr) {
    sum = _mm256_add_ps(sum, _mm256_maskload_ps(t.residual + offset, mask));
  }
  _mm256_maskstore_ps(t.out + offset, mask, sum);
}

/// 16 outputs of each row, in two registers.
template <int rows>
using Floats = __m256[rows][2];
template <int rows>
using Integers = __m256i[rows][2];

/// Of four rows: keeps values in memory, as the registers are all taken. Clang would spill others,
/// some of them more than once.
template <typename Register, int rows>
[[gnu::always_inline]] inline void keep_in_memory(Register (&values)[rows][2]) {
  for (int i = 0; i < 2 * rows && rows > 2; i++) asm("" : "+m"(values[i / 2][i % 2]));
}

/// sums = the products of half a group's 16 columns with a panel. Each register of codes serves all
/// rows, and each row's columns both registers.
template <Layout layout, int half, int rows>
[[gnu::always_inline]] inline void multiply_half(const uint8_t* values,
                                                 const int8_t* const (&x)[rows],
                                                 Integers<rows>& sums) {
#pragma clang loop unroll(full)
  for (int quad = 4 * half; quad < 4 * half + 4; quad += kQuadsAStep<layout>) {
    Codes<layout> codes[2];
    for (int lanes = 0; lanes < 2; lanes++) {
      codes[lanes] = load_codes<layout>(values + 32 * lanes, quad);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const Columns<layout> columns = load_columns<layout>(x[r], quad);
      for (int lanes = 0; lanes < 2; lanes++) {
        add_products<layout>(codes[lanes], columns, quad == 4 * half, sums[r][lanes]);
        asm volatile("" : "+x"(sums[r][lanes]));  // in this order: a tree of sums would be spilled
      }
    }
  }
}

/// Whether both halves of a group, times their multiples, fit 32 bits.
constexpr bool adds_whole(Layout layout) {
  return code_bits(layout) <= 4 && !has_half_scales(layout);
}

/// What a group gives, in units of the rows and before the weights' scale.
template <Layout layout, int rows>
[[gnu::always_inline]] inline void multiply_whole(const uint8_t* values,
                                                  const int8_t* const (&x)[rows],
                                                  const Avx2Group* const (&groups)[rows],
                                                  Floats<rows>& scaled) {
  Integers<rows> sums, first;
  multiply_half<layout, 0>(values, x, sums);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    for (int lanes = 0; lanes < 2; lanes++) {
      first[r][lanes] = times_multiple(sums[r][lanes], *groups[r], 0);
    }
  }
  keep_in_memory(first);
  multiply_half<layout, 1>(values, x, sums);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    for (int lanes = 0; lanes < 2; lanes++) {
      __m256i sum = times_multiple(sums[r][lanes], *groups[r], 1);
      sum = _mm256_add_epi32(sum, first[r][lanes]);
      if constexpr (layout == Layout::s4) {
        sum = _mm256_add_epi32(sum, _mm256_set1_epi32(groups[r]->offset4));
      }
      scaled[r][lanes] = _mm256_cvtepi32_ps(sum);
    }
  }
}

/// The same of half a group, and `before` where there is such.
template <Layout layout, int half, int rows>
[[gnu::always_inline]] inline void multiply_scaled(const uint8_t* values,
                                                   const int8_t* const (&x)[rows],
                                                   const Avx2Group* const (&groups)[rows],
                                                   const Floats<rows>* before,
                                                   Floats<rows>& scaled) {
  Integers<rows> sums;
  multiply_half<layout, half>(values, x, sums);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const __m256 scale = _mm256_set1_ps(groups[r]->scale[half]);
    for (int lanes = 0; lanes < 2; lanes++) {
      const __m256 dot = _mm256_cvtepi32_ps(whole_dots<layout>(sums[r][lanes], *groups[r], half));
      scaled[r][lanes] = before == nullptr ? _mm256_mul_ps(dot, scale)
                                           : _mm256_fmadd_ps(dot, scale, (*before)[r][lanes]);
    }
  }
}

/// total += scaled * the scales at `p`, and the row's sums * the biases at `biases` where there
/// are.
template <int rows>
[[gnu::always_inline]] inline void add_scaled(const Floats<rows>& scaled, const uint8_t* p,
                                              const uint8_t* biases, const PanelFormat& format,
                                              const Avx2Group* const (&groups)[rows],
                                              Floats<rows>& total) {
  const ScaleType type = format.scale_type;
  const size_t lane_bytes = kLanes * format.scale_bytes();
  const __m256 scales[2] = {load_scales(p, type), load_scales(p + lane_bytes, type)};
  Floats<rows> sums;
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    for (int lanes = 0; lanes < 2; lanes++) {
      sums[r][lanes] = _mm256_fmadd_ps(scaled[r][lanes], scales[lanes], total[r][lanes]);
    }
  }
  if (biases != nullptr) {
    const __m256 bias[2] = {load_scales(biases, type), load_scales(biases + lane_bytes, type)};
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const __m256 sum = _mm256_set1_ps(groups[r]->sum);
      for (int lanes = 0; lanes < 2; lanes++) {
        sums[r][lanes] = _mm256_fmadd_ps(bias[lanes], sum, sums[r][lanes]);
      }
    }
  }
  for (int i = 0; i < 2 * rows; i++) total[i / 2][i % 2] = sums[i / 2][i % 2];
  keep_in_memory(total);
}

/// total += `rows` rows' group of 32 columns times a panel's.
template <Layout layout, int rows>
[[gnu::always_inline]] inline void add_group(const PanelFormat& format, const uint8_t* values,
                                             const uint8_t* scales, const int8_t* const (&x)[rows],
                                             const Avx2Group* const (&groups)[rows],
                                             Floats<rows>& total) {
  const uint8_t* seconds = scales + kPanelRows * format.scale_bytes();
  Floats<rows> scaled;
  if constexpr (has_half_scales(layout)) {
    multiply_scaled<layout, 0, rows>(values, x, groups, nullptr, scaled);
    add_scaled(scaled, scales, nullptr, format, groups, total);
    multiply_scaled<layout, 1, rows>(values, x, groups, nullptr, scaled);
    add_scaled(scaled, seconds, nullptr, format, groups, total);
    return;
  }
  if constexpr (adds_whole(layout)) {
    multiply_whole<layout>(values, x, groups, scaled);
  } else {
    Floats<rows> first;
    multiply_scaled<layout, 0, rows>(values, x, groups, nullptr, first);
    keep_in_memory(first);
    multiply_scaled<layout, 1, rows>(values, x, groups, &first, scaled);
  }
  add_scaled(scaled, scales, has_bias(layout) ? seconds : nullptr, format, groups, total);
}

/// What GGUF's types become. Known when compiled, it makes the loop over groups a plain one.
template <Layout layout>
constexpr PanelFormat kUsual = {layout, ScaleType::f16, 1};

/// `rows` rows of x, from `row` on, times a panel.
template <Layout layout, int rows, bool usual>
void multiply_panel(const LinearTask& t, int panel, int row) {
  const PanelFormat format = usual ? kUsual<layout> : t.format;
  const int groups = t.x.columns / kGroupColumns;
  const size_t scale_stride = format.scale_stride();
  const size_t group_bytes = format.group_bytes();
  const uint8_t *at = t.panels + panel * t.panel_bytes, *scales = at;
  const int scales_a_block = format.scales_a_block();
  const size_t block_scale_bytes = format.block_scale_bytes();
  constexpr int kLines = code_bits(layout) + 1;  // scales, and a group

  const int8_t* x[rows];
  const Avx2Group* x_groups[rows];
  __m256 sums[rows][2];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.values + static_cast<size_t>(row + r) * t.x.columns;
    x_groups[r] =
        reinterpret_cast<const Avx2Group*>(t.x.groups + static_cast<size_t>(row + r) * groups);
    sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  }
  int scales_left = 0;  // in the block
  for (int first = 0; first < groups; first += format.groups_per_scale, scales += scale_stride) {
    if (scales_left == 0) {
      scales = at;
      at += block_scale_bytes;
      scales_left = scales_a_block;
    }
    scales_left--;
    int last = first + format.groups_per_scale;
    if (last > groups) last = groups;
    for (int g = first; g < last; g++, at += group_bytes) {
      if (rows > 1) prefetch<kLines>(at - 64);
      add_group<layout>(format, at, scales, x, x_groups, sums);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        x[r] += kGroupColumns;
        x_groups[r]++;
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    const __m256 unit = _mm256_set1_ps(x_groups[r][-1].unit);
    for (int lanes = 0; lanes < 2; lanes++) {
      store(_mm256_mul_ps(sums[r][lanes], unit), t, row + r, panel * kPanelRows + lanes * kLanes);
    }
  }
}

/// sums[r] += w * column k of row r
template <int rows>
void add_column(__m256 w, int k, const float* const (&x)[rows], __m256 (&sums)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) sums[r] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[r][k]), sums[r]);
}

template <Layout layout, int rows>
void multiply_float_half(const LinearTask& t, int panel, int half, int row) {
  constexpr int kColumns = layout == Layout::bf16 ? 2 : 1;  // at a time
  constexpr int kStride = layout == Layout::f16 ? 32 : 64;
  const uint8_t* p = t.panels + panel * t.panel_bytes + half * kStride / 2;
  const float* x[rows];
  __m256 sums[rows];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.floats + static_cast<size_t>(row + r) * t.x.columns;
    sums[r] = _mm256_setzero_ps();
  }
  for (int k = 0; k < t.x.columns; k += kColumns, p += kStride) {
    if (rows > 1 && half == 0) prefetch<1>(p);
    if constexpr (layout == Layout::bf16) {  // the upper halves of floats
      const __m256i pair = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
      const __m256i upper = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000));
      add_column(_mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)), k, x, sums);
      if (k + 1 == t.x.columns) break;
      add_column(_mm256_castsi256_ps(_mm256_and_si256(pair, upper)), k + 1, x, sums);
    } else {
      const ScaleType type = layout == Layout::f16 ? ScaleType::f16 : ScaleType::f32;
      add_column(load_scales(p, type), k, x, sums);
    }
  }
  for (int r = 0; r < rows; r++) store(sums[r], t, row + r, panel * kPanelRows + half * kLanes);
}

template <Layout layout, int rows>
void multiply_panels(const LinearTask& t, int row) {
  if constexpr (is_float(layout)) {
    for (int panel = 0; panel < t.panel_count; panel++) {
      for (int half = 0; half < 2; half++) multiply_float_half<layout, rows>(t, panel, half, row);
    }
  } else {
    for (int panel = 0; panel < t.panel_count; panel++) {
      if (t.format == kUsual<layout>) {
        multiply_panel<layout, rows, true>(t, panel, row);
      } else {
        multiply_panel<layout, rows, false>(t, panel, row);
      }
    }
  }
}

/// Rows in blocks, so that a block's activations stay in the first cache over all panels.
template <Layout layout>
void multiply(const LinearTask& t) {
  int row = 0;
  for (; row + kRowBlock <= t.x.rows; row += kRowBlock) multiply_panels<layout, kRowBlock>(t, row);
  for (; row + 2 <= t.x.rows; row += 2) multiply_panels<layout, 2>(t, row);
  for (; row < t.x.rows; row++) multiply_panels<layout, 1>(t, row);
}

constexpr LinearKernels kKernels = {
    {multiply<Layout::u2>, multiply<Layout::u3>, multiply<Layout::u4>, multiply<Layout::s4>,
     multiply<Layout::u5>, multiply<Layout::u6>, multiply<Layout::u8>, multiply<Layout::s8>,
     multiply<Layout::h3>, multiply<Layout::h6>, multiply<Layout::f16>, multiply<Layout::bf16>,
     multiply<Layout::f32>},
    quantize_avx2,
};

}  // namespace
}  // namespace ck
