// Weights in registers of 8 lanes. Included by each file that makes integer dot products of them,
// inside its target attribute and after kernels.hpp; internal linkage.

namespace ck {
namespace {

inline __m256i load_vector(const uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

/// Quad j of a plane at `p`, as bits `low` and up of bytes. See layout.hpp.
template <int bits, int low>
__m256i load_field(const uint8_t* p, int j) {
  const int right = bits * (j / bits) - low;
  __m256i field = load_vector(p + 64 * (j % bits));
  if (right > 0) field = _mm256_srli_epi16(field, right);
  if (right < 0) field = _mm256_slli_epi16(field, -right);
  return _mm256_and_si256(field, _mm256_set1_epi8(static_cast<char>(((1 << bits) - 1) << low)));
}

/// The codes of columns 4 j ... 4 j + 3 of 8 outputs, as bytes.
template <Layout layout>
__m256i load_quad(const uint8_t* values, int j) {
  constexpr int kFirst = first_plane_bits(layout), kSecond = code_bits(layout) - kFirst;
  if constexpr (kFirst == 8) return load_vector(values + 64 * j);
  __m256i codes = load_field<kFirst, 0>(values, j);
  if constexpr (kSecond > 0) {
    codes = _mm256_or_si256(codes, load_field<kSecond, kFirst>(values + 64 * kFirst, j));
  }
  return codes;
}

inline __m256i four_columns(const int8_t* x) {
  return _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(x));
}

/// A half's dot products of codes, whose zero lies at `zero`, of what they stand for.
template <int zero>
__m256i less_zero_point(__m256i dots, const Avx2Group& group, int half) {
  if constexpr (zero == 0) return dots;
  const __m256i sum = _mm256_set1_epi32(group.half_sum[half] * zero);
  return _mm256_sub_epi32(dots, sum);
}

}  // namespace
}  // namespace ck
