// linear for registers of 8 lanes: a panel is done in halves of 8 outputs. Included by one file per
// way to make integer dot products, after it has defined
//   template <Layout layout> __m256i load_codes(const uint8_t* values, int quad);
//   template <Layout layout>
//   __m256i half_dots(const __m256i (&codes)[4], const int8_t* x, const ActivationGroup& group,
//                     int half);
// the codes of 4 columns of 8 outputs, and the dot products of those of 16 columns with a row's.
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

/// scaled[r] += half a group of 32 columns of row r times 8 outputs, before the weights' scale; or
/// = where that is the half's own.
template <Layout layout, int half, int rows>
void add_half(const uint8_t* values, const int8_t* const (&x)[rows],
              const ActivationGroup* const (&groups)[rows], int g, __m256 (&scaled)[rows]) {
  __m256i codes[4];
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) codes[j] = load_codes<layout>(values, 4 * half + j);
  // Row by row, so that the codes are all that has to stay in registers.
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const ActivationGroup& group = groups[r][g];
    __m256 dots = _mm256_cvtepi32_ps(half_dots<layout>(codes, x[r] + 16 * half, group, half));
    __m256 scale = _mm256_set1_ps(group.scale[half]);
    scaled[r] = half == 0 || has_half_scales(layout) ? _mm256_mul_ps(dots, scale)
                                                     : _mm256_fmadd_ps(dots, scale, scaled[r]);
  }
}

template <int rows>
void add_scaled(const __m256 (&scaled)[rows], __m256 scale, __m256 (&sums)[rows]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) sums[r] = _mm256_fmadd_ps(scaled[r], scale, sums[r]);
}

/// What GGUF's types become. Known when compiled, it makes the loop over groups a plain one.
template <Layout layout>
constexpr PanelFormat kUsual = {layout, ScaleType::f16, 1};

/// `rows` rows of x, from `row` on, times 8 outputs of a panel: the lower or the upper half.
template <Layout layout, int rows, bool usual>
void multiply_half(const LinearTask& t, int panel, int half, int row) {
  const PanelFormat format = usual ? kUsual<layout> : t.format;
  const int groups = t.x.columns / kGroupColumns;
  const size_t scale_bytes = format.scale_bytes();
  const size_t scale_stride = format.scale_stride();
  const size_t second_offset = kPanelRows * scale_bytes;
  const size_t group_bytes = format.group_bytes();
  const uint8_t *at = t.panels + panel * t.panel_bytes, *scales = at;
  const int scales_a_block = format.scales_a_block();
  const size_t block_scale_bytes = format.block_scale_bytes();
  constexpr int kLines = code_bits(layout) + 1;  // scales, and a group

  const int8_t* x[rows];
  const ActivationGroup* x_groups[rows];
  __m256 sums[rows];
  for (int r = 0; r < rows; r++) {
    x[r] = t.x.values + static_cast<size_t>(row + r) * t.x.columns;
    x_groups[r] = t.x.groups + static_cast<size_t>(row + r) * groups;
    sums[r] = _mm256_setzero_ps();
  }
  int scales_left = 0;  // in the block
  for (int first = 0; first < groups; first += format.groups_per_scale, scales += scale_stride) {
    if (scales_left == 0) {
      scales = at + half * kLanes * scale_bytes;
      at += block_scale_bytes;
      scales_left = scales_a_block;
    }
    scales_left--;
    const __m256 scale = load_scales(scales, format.scale_type);
    __m256 second;  // biases, or the second half's scales
    if constexpr (has_bias(layout) || has_half_scales(layout)) {
      second = load_scales(scales + second_offset, format.scale_type);
    }
    int last = first + format.groups_per_scale;
    if (last > groups) last = groups;
    for (int g = first; g < last; g++, at += group_bytes) {
      if (rows > 1 && half == 0) prefetch<kLines>(at - 64);
      const uint8_t* values = at + half * 4 * kLanes;
      __m256 scaled[rows];
      add_half<layout, 0>(values, x, x_groups, g, scaled);
      if constexpr (has_half_scales(layout)) add_scaled(scaled, scale, sums);
      add_half<layout, 1>(values, x, x_groups, g, scaled);
      add_scaled(scaled, has_half_scales(layout) ? second : scale, sums);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        if constexpr (has_bias(layout)) {
          sums[r] = _mm256_fmadd_ps(second, _mm256_set1_ps(x_groups[r][g].sum), sums[r]);
        }
        x[r] += kGroupColumns;
      }
    }
  }
  for (int r = 0; r < rows; r++) store(sums[r], t, row + r, panel * kPanelRows + half * kLanes);
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
  for (int panel = 0; panel < t.panel_count; panel++) {
    for (int half = 0; half < 2; half++) {
      if constexpr (is_float(layout)) {
        multiply_float_half<layout, rows>(t, panel, half, row);
      } else {
        if (t.format == kUsual<layout>) {
          multiply_half<layout, rows, true>(t, panel, half, row);
        } else {
          multiply_half<layout, rows, false>(t, panel, half, row);
        }
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

int32_t largest_lane(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

int32_t sum_of_lanes(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/// 16 columns: their scale, and the sum of the integers.
float quantize_half(const float* x, int8_t* values, int32_t* sum) {
  __m256 low = _mm256_loadu_ps(x), high = _mm256_loadu_ps(x + kLanes);
  // As integers, magnitudes order like floats, with infinity and then NaN above all.
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i bits = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(low), magnitude),
                                  _mm256_and_si256(_mm256_castps_si256(high), magnitude));
  constexpr int32_t kInfinity = 0x7f800000;
  constexpr float kSmallest = 4e-37f;  // below it 127 / largest overflows
  int32_t largest_bits = largest_lane(bits);
  float largest = __builtin_bit_cast(float, largest_bits);
  bool finite = largest_bits < kInfinity;
  __m256 inverse = _mm256_set1_ps(finite && largest > kSmallest ? 127.0f / largest : 0.0f);
  __m256i q_low = _mm256_cvtps_epi32(_mm256_mul_ps(low, inverse));
  __m256i q_high = _mm256_cvtps_epi32(_mm256_mul_ps(high, inverse));
  __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q_low, q_high), 0xd8);
  __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(values), bytes);
  *sum = finite ? sum_of_lanes(_mm256_add_epi32(q_low, q_high)) : 0;
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
