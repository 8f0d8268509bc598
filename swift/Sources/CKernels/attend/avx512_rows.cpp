// attend for AVX-512: queries, keys and values of a step, rotated and quantized.
#if defined(__x86_64__)

#include <immintrin.h>

#include "../kv/kv.hpp"
#include "kernels.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

namespace ck {
namespace {

constexpr int kLanes = 16;
constexpr int kMostHeadDim = 1024;

__mmask16 lanes(int count) {
  return count >= kLanes ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}

/// Halves layout; out is zero beyond head_dim up to width.
void rotate(const AttendShape& shape, const float* x, const float* rotation, float* out) {
  int half = shape.head_dim / 2;
  for (int i = shape.head_dim / kLanes * kLanes; i < shape.width; i += kLanes) {
    _mm512_storeu_ps(out + i, _mm512_setzero_ps());
  }
  for (int i = 0; i < half; i += kLanes) {
    __mmask16 mask = lanes(half - i);
    __m512 a = _mm512_maskz_loadu_ps(mask, x + i), b = _mm512_maskz_loadu_ps(mask, x + half + i);
    __m512 c = _mm512_maskz_loadu_ps(mask, rotation + i);
    __m512 s = _mm512_maskz_loadu_ps(mask, rotation + half + i);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
    _mm512_mask_storeu_ps(out + half + i, mask, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
  }
}

/// What x [head_dim] is to be divided by and then multiplied with to become integers.
struct Quantizer {
  float divisor, factor, scale;
};

Quantizer quantizer(const float* x, int head_dim, float norm, float largest) {
  __m512i bits = _mm512_setzero_si512();
  for (int i = 0; i < head_dim; i += kLanes) {
    __m512 v = _mm512_maskz_loadu_ps(lanes(head_dim - i), x + i);
    bits = _mm512_max_epu32(bits, _mm512_castps_si512(_mm512_abs_ps(v)));
  }
  union {
    unsigned bits;
    float value;
  } magnitude = {_mm512_reduce_max_epu32(bits)};
  if (magnitude.bits >= 0x7f800000) return {1, 0, __builtin_nanf("")};
  if (magnitude.value < 1e-30f) return {1, 0, 0};
  float factor = largest;
  if (norm > 0) {
    __m512 squares = _mm512_setzero_ps(), divisor = _mm512_set1_ps(magnitude.value);
    for (int i = 0; i < head_dim; i += kLanes) {
      __m512 v = _mm512_maskz_loadu_ps(lanes(head_dim - i), x + i);
      v = _mm512_div_ps(v, divisor);
      squares = _mm512_fmadd_ps(v, v, squares);
    }
    float by_norm = norm / __builtin_sqrtf(_mm512_reduce_add_ps(squares));
    factor = by_norm < factor ? by_norm : factor;
  }
  return {magnitude.value, factor, magnitude.value / factor};
}

/// Columns i ..< i + 16 of x as integers; zero beyond head_dim, and all zero where factor is.
__m512i quantized(const float* x, int i, int head_dim, const Quantizer& by) {
  __mmask16 mask = by.factor == 0 ? 0 : lanes(head_dim - i);
  if (i >= head_dim) mask = 0;
  __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
  v = _mm512_mul_ps(_mm512_div_ps(v, _mm512_set1_ps(by.divisor)), _mm512_set1_ps(by.factor));
  return _mm512_maskz_cvtps_epi32(mask, v);
}

}  // namespace

void query_avx512(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
                  float* scale);
void append_avx512(const AttendShape& shape, const float* k, const float* v, const float* rotation,
                   uint8_t* record, int slot);

void query_avx512(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
                  float* scale) {
  alignas(64) float rotated[kMostHeadDim];
  rotate(shape, q, rotation, rotated);
  Quantizer by = quantizer(rotated, shape.head_dim, kKeyNorm, kKeyLargest);
  for (int i = 0; i < shape.width; i += kLanes) {
    __m256i columns = _mm512_cvtepi32_epi16(quantized(rotated, i, shape.head_dim, by));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), columns);
  }
  *scale = by.scale;
}

void append_avx512(const AttendShape& shape, const float* k, const float* v, const float* rotation,
                   uint8_t* record, int slot) {
  alignas(64) float rotated[kMostHeadDim];
  RecordLayout layout(shape.head_dim);
  rotate(shape, k, rotation, rotated);
  Quantizer by = quantizer(rotated, shape.head_dim, kKeyNorm, kKeyLargest);
  reinterpret_cast<float*>(record + layout.key_scales())[slot] = by.scale;
  auto* tile = reinterpret_cast<int32_t*>(record + slot / kTileTokens * layout.tile_bytes());
  for (int i = 0; i < shape.width; i += kLanes) {
    alignas(32) int32_t pairs[kLanes / 2];
    __m256i columns = _mm512_cvtepi32_epi16(quantized(rotated, i, shape.head_dim, by));
    _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), columns);
    for (int p = 0; p < kLanes / 2; p++) {
      tile[(i / 2 + p) * kTileTokens + slot % kTileTokens] = pairs[p];
    }
  }

  by = quantizer(v, shape.head_dim, 0, kValueLargest);
  reinterpret_cast<float*>(record + layout.value_scales())[slot] = by.scale;
  auto* values = reinterpret_cast<int16_t*>(record + layout.values()) + slot / 2 * 2 * shape.width;
  // The other token of the pair, which another thread may be writing, is left alone.
  __mmask32 mask = slot % 2 == 0 ? 0x55555555 : 0xaaaaaaaa;
  for (int i = 0; i < shape.width; i += kLanes) {
    __m512i columns = quantized(v, i, shape.head_dim, by);
    _mm512_mask_storeu_epi16(values + 2 * i, mask,
                             _mm512_or_si512(_mm512_slli_epi32(columns, 16),
                                             _mm512_and_si512(columns, _mm512_set1_epi32(0xffff))));
  }
}

}  // namespace ck

#pragma clang attribute pop

#endif
