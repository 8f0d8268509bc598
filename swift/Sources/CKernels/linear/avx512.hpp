// What the files of linear for AVX-512 share. Included inside their target attributes, after
// kernels.hpp, which has to stay outside; all that has code here has internal linkage.
#ifndef CK_LINEAR_AVX512_HPP
#define CK_LINEAR_AVX512_HPP

namespace ck {
namespace {

// Rows that are multiplied at once: the fastest number, and the most that one block takes rather
// than two, as many as registers hold sums of beside a group of weights.
constexpr int kRowBlock = 8, kMostRows = 12;
// How far ahead of its reads a panel is fetched into the second cache, across panels, where
// computing leaves memory idle. A single row reads as fast as memory can: there the hardware's own
// prefetcher does better alone.
constexpr int kPrefetchBytes = 8192;

inline __m512 load_scales(const uint8_t* p, ScaleType type) {
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

template <int lines>
void prefetch(const uint8_t* p) {
  for (int i = 0; i < lines; i++) _mm_prefetch(p + kPrefetchBytes + 64 * i, _MM_HINT_T1);
}

inline void store(__m512 sum, const LinearTask& t, int row, int column) {
  int left = t.outputs - column;
  __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  size_t offset = row * t.out_stride + column;
  if (t.residual != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, t.residual + offset));
  }
  _mm512_mask_storeu_ps(t.out + offset, mask, sum);
}

/// `Block::multiply<rows>` of all panels: `rows` rows of x, from `row` on.
template <class Block, int rows>
void multiply_panels(const LinearTask& t, int row) {
  for (int panel = 0; panel < t.panel_count; panel++) {
    Block::template multiply<rows>(t, panel, row);
  }
}

/// multiply_panels by the number of rows, from 1 on.
template <class Block, class Counts = std::make_integer_sequence<int, kMostRows>>
struct PanelsByRows;
template <class Block, int... counts>
struct PanelsByRows<Block, std::integer_sequence<int, counts...>> {
  static constexpr void (*table[])(const LinearTask&,
                                   int) = {multiply_panels<Block, counts + 1>...};
};

/// Rows in blocks, so that a block's activations stay in the first cache over all panels; of about
/// one size, since each block reads and unpacks the weights once more.
template <class Block>
void multiply_rows(const LinearTask& t) {
  const int rows = t.x.rows;
  const int blocks = rows <= kMostRows ? 1 : (rows + kRowBlock - 1) / kRowBlock;
  for (int i = 0, row = 0; i < blocks; i++) {
    const int end = rows * (i + 1) / blocks;
    PanelsByRows<Block>::table[end - row - 1](t, row);
    row = end;
  }
}

}  // namespace

// For AVX-512 without BF16 too: bfloat16 is read as floats.
void multiply_float16_avx512(const LinearTask& task);
void multiply_bfloat16_as_float_avx512(const LinearTask& task);
void multiply_float32_avx512(const LinearTask& task);

}  // namespace ck

#endif  // CK_LINEAR_AVX512_HPP
