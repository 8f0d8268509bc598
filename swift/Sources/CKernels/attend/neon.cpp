// attend for NEON: 4 keys, or 4 columns of values, are two registers of sums, since smlal makes one
// of each product; pairs are added once, at the end.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "../kv/kv.hpp"
#include "kernels.hpp"

namespace ck {
namespace {

constexpr int kLanes = 4;
constexpr int kMostQueries = 3;  // that share a load of keys or values
constexpr int kMostHeadDim = 1024;
constexpr float kMostWeight = 32767;  // sums of 64 weights times values fit an int32
constexpr float kMostWeights = 131000;
constexpr float kLog2E = 1.44269504f;

/// Lanes i with first <= key + i < last.
uint32x4_t lanes_between(int key, int first, int last) {
  static const int32_t kLane[4] = {0, 1, 2, 3};
  int32x4_t lane = vaddq_s32(vdupq_n_s32(key), vld1q_s32(kLane));
  return vandq_u32(vcgeq_s32(lane, vdupq_n_s32(first)), vcltq_s32(lane, vdupq_n_s32(last)));
}

float32x4_t masked(float32x4_t x, uint32x4_t mask) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask));
}

/// 2^x for x <= 127, 0 below -126; NaN stays NaN. The polynomial's relative error on [-0.5, 0.5] is
/// below 3e-6.
float32x4_t exponential(float32x4_t x) {
  x = vmaxq_f32(x, vdupq_n_f32(-127));
  float32x4_t n = vrndnq_f32(x);
  float32x4_t f = vsubq_f32(x, n);
  float32x4_t p = vdupq_n_f32(0.009570102f);
  p = vfmaq_f32(vdupq_n_f32(0.05591786f), p, f);
  p = vfmaq_f32(vdupq_n_f32(0.24024744f), p, f);
  p = vfmaq_f32(vdupq_n_f32(0.6931218f), p, f);
  p = vfmaq_f32(vdupq_n_f32(0.9999993f), p, f);
  int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
  return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

/// log2(e) * cap * tanh(x / cap)
float32x4_t capped(float32x4_t x, float cap) {
  float32x4_t twice = vmulq_n_f32(x, 2 * kLog2E / cap);
  twice = vmaxq_f32(vminq_f32(twice, vdupq_n_f32(60)), vdupq_n_f32(-60));
  float32x4_t e = vaddq_f32(exponential(twice), vdupq_n_f32(1));
  float32x4_t tanh = vsubq_f32(vdupq_n_f32(1), vdivq_f32(vdupq_n_f32(2), e));
  return vmulq_n_f32(tanh, cap * kLog2E);
}

/// Halves layout.
void rotate(const AttendShape& shape, const float* x, const float* rotation, float* out) {
  int half = shape.head_dim / 2;
  for (int i = 0; i < half; i += kLanes) {
    float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
    float32x4_t c = vld1q_f32(rotation + i), s = vld1q_f32(rotation + half + i);
    vst1q_f32(out + i, vfmsq_f32(vmulq_f32(a, c), b, s));
    vst1q_f32(out + half + i, vfmaq_f32(vmulq_f32(b, c), a, s));
  }
}

/// Quantizes x [head_dim] to out [width], zero beyond head_dim; returns the scale. norm: the length
/// to scale to at most, 0: any.
float quantize(const AttendShape& shape, const float* x, float norm, float largest, int16_t* out) {
  uint32x4_t bits = vdupq_n_u32(0);
  for (int i = 0; i < shape.head_dim; i += kLanes) {
    bits = vmaxq_u32(bits, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  }
  union {
    uint32_t bits;
    float value;
  } magnitude = {vmaxvq_u32(bits)};
  bool finite = magnitude.bits < 0x7f800000;
  if (!finite || magnitude.value < 1e-30f) {
    for (int i = 0; i < shape.width; i++) out[i] = 0;
    return finite ? 0 : __builtin_nanf("");
  }
  float32x4_t divisor = vdupq_n_f32(magnitude.value);
  float factor = largest;
  if (norm > 0) {
    float32x4_t squares = vdupq_n_f32(0);
    for (int i = 0; i < shape.head_dim; i += kLanes) {
      float32x4_t v = vdivq_f32(vld1q_f32(x + i), divisor);
      squares = vfmaq_f32(squares, v, v);
    }
    float by_norm = norm / __builtin_sqrtf(vaddvq_f32(squares));
    factor = by_norm < factor ? by_norm : factor;
  }
  for (int i = 0; i < shape.head_dim; i += kLanes) {
    float32x4_t v = vmulq_n_f32(vdivq_f32(vld1q_f32(x + i), divisor), factor);
    vst1_s16(out + i, vqmovn_s32(vcvtnq_s32_f32(v)));
  }
  for (int i = shape.head_dim; i < shape.width; i++) out[i] = 0;
  return magnitude.value / factor;
}

void query(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
           float* scale) {
  float rotated[kMostHeadDim];
  rotate(shape, q, rotation, rotated);
  *scale = quantize(shape, rotated, kKeyNorm, kKeyLargest, out);
}

void append(const AttendShape& shape, const float* k, const float* v, const float* rotation,
            uint8_t* record, int slot) {
  RecordLayout layout(shape.head_dim);
  float rotated[kMostHeadDim];
  int16_t columns[kMostHeadDim];
  rotate(shape, k, rotation, rotated);
  reinterpret_cast<float*>(record + layout.key_scales())[slot] =
      quantize(shape, rotated, kKeyNorm, kKeyLargest, columns);
  auto* tile = reinterpret_cast<int16_t*>(record + slot / kTileTokens * layout.tile_bytes());
  for (int i = 0; i < shape.width; i++) {
    tile[i / 2 * 2 * kTileTokens + slot % kTileTokens * 2 + i % 2] = columns[i];
  }
  reinterpret_cast<float*>(record + layout.value_scales())[slot] =
      quantize(shape, v, 0, kValueLargest, columns);
  auto* values = reinterpret_cast<int16_t*>(record + layout.values()) + slot / 2 * 2 * shape.width;
  for (int i = 0; i < shape.width; i++) values[2 * i + slot % 2] = columns[i];
}

/// Dot products of `count` rows of pairs with 16 lanes of pairs, by row: sums[r][i] are the lanes
/// 4 i ... 4 i + 3.
template <int count>
struct Products {
  int32x4_t low[count][4], high[count][4];

  Products() {
#pragma clang loop unroll(full)
    for (int r = 0; r < count; r++) {
#pragma clang loop unroll(full)
      for (int i = 0; i < 4; i++) low[r][i] = high[r][i] = vdupq_n_s32(0);
    }
  }

  /// lanes: 16 pairs. rows: one pair of each row, `stride` apart.
  void add(const int16_t* lanes, const int32_t* rows, int stride) {
    int16x8_t pair[count];
#pragma clang loop unroll(full)
    for (int r = 0; r < count; r++) {
      pair[r] = vreinterpretq_s16_s32(vdupq_n_s32(rows[r * stride]));
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
      int16x8_t lane = vld1q_s16(lanes + 8 * i);
#pragma clang loop unroll(full)
      for (int r = 0; r < count; r++) {
        low[r][i] = vmlal_s16(low[r][i], vget_low_s16(lane), vget_low_s16(pair[r]));
        high[r][i] = vmlal_high_s16(high[r][i], lane, pair[r]);
      }
    }
  }

  float32x4_t sum(int row, int i) const {
    return vcvtq_f32_s32(vpaddq_s32(low[row][i], high[row][i]));
  }
};

/// Scores of `count` queries with a tile of 16 keys.
template <int count>
void score(const SpanTask& t, int query, int tile) {
  RecordLayout layout(t.shape.head_dim);
  const uint8_t* record = t.records[tile / 2];
  auto* keys = reinterpret_cast<const int16_t*>(record + tile % 2 * layout.tile_bytes());
  auto* q = reinterpret_cast<const int32_t*>(t.q + size_t(query) * t.shape.width);
  int pairs = t.shape.width / 2;
  Products<count> products;
  for (int p = 0; p < pairs; p++) products.add(keys + p * 32, q + p, pairs);
  auto* scales = reinterpret_cast<const float*>(record + layout.key_scales()) + tile % 2 * 16;
  for (int r = 0; r < count; r++) {
    float* scores = t.scores + (query + r) * 256 + tile * kTileTokens;
    for (int i = 0; i < 4; i++) {
      float32x4_t scale = vmulq_n_f32(vld1q_f32(scales + 4 * i), t.q_scales[query + r]);
      vst1q_f32(scores + 4 * i, vmulq_f32(products.sum(r, i), scale));
    }
  }
}

/// The largest score of a query among the keys that it sees; caps the scores first.
float largest_score(const SpanTask& t, int query) {
  int first = t.first[query], last = t.last[query];
  float* scores = t.scores + query * 256;
  const float32x4_t least = vdupq_n_f32(-__builtin_inff());
  float32x4_t largest = least;
  for (int key = first / kLanes * kLanes; key < last; key += kLanes) {
    float32x4_t s = vld1q_f32(scores + key);
    if (t.shape.soft_cap != 0) {
      s = capped(s, t.shape.soft_cap);
      vst1q_f32(scores + key, s);
    }
    largest = vmaxq_f32(largest, vbslq_f32(lanes_between(key, first, last), s, least));
  }
  return vmaxvq_f32(largest);
}

/// Weights of one query, 2^(score - largest), and their sum; times the values' scales, as int16.
void weigh(const SpanTask& t, int query, int first_sum, int last_sum) {
  int first = t.first[query], last = t.last[query];
  size_t value_scales = RecordLayout(t.shape.head_dim).value_scales();
  const float32x4_t largest = vdupq_n_f32(t.largest[query]);
  float32x4_t total = vdupq_n_f32(0);
  for (int s = first_sum; s <= last_sum; s++) {
    float* scores = t.scores + query * 256 + s * kSumTokens;
    float32x4_t most = vdupq_n_f32(0), sum = vdupq_n_f32(0);
    for (int i = 0; i < kSumTokens; i += kLanes) {
      int key = s * kSumTokens + i;
      const uint8_t* record = t.records[key / CK_BLOCK_TOKENS];
      float32x4_t weight = vdupq_n_f32(0);
      if (key < last && key + kLanes > first) {
        uint32x4_t mask = lanes_between(key, first, last);
        float32x4_t p = masked(exponential(vsubq_f32(vld1q_f32(scores + i), largest)), mask);
        auto* scales = reinterpret_cast<const float*>(record + value_scales);
        float32x4_t scale = masked(vld1q_f32(scales + key % CK_BLOCK_TOKENS), mask);
        total = vaddq_f32(total, p);
        weight = vmulq_f32(p, scale);
      }
      most = vmaxq_f32(most, weight);
      sum = vaddq_f32(sum, weight);
      vst1q_f32(scores + i, weight);
    }
    float by_sum = vaddvq_f32(sum) * (1 / kMostWeights), by_most = vmaxvq_f32(most) / kMostWeight;
    float unscale = by_most > by_sum ? by_most : by_sum;  // NaN in the sum stays
    t.unscale[query * kSpanSums + s] = unscale;
    float scale = unscale == 0 ? 0 : 1 / unscale;
    int16_t* weights = t.weights + query * 256 + s * kSumTokens;
    for (int i = 0; i < kSumTokens; i += kLanes) {
      int32x4_t w = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(scores + i), scale));
      vst1_s16(weights + i, vqmovn_s32(w));
    }
  }
  t.sums[query] = vaddvq_f32(total);
}

/// Adds weights . values of one sum's keys to 16 columns of `count` queries' results.
template <int count>
void mix(const SpanTask& t, int query, int column, int sum, int last) {
  int width = t.shape.width;
  size_t values = RecordLayout(t.shape.head_dim).values();
  Products<count> products;
  for (int half = 0; half < 2; half++) {
    const uint8_t* record = t.records[sum * 2 + half];
    int keys = last - sum * kSumTokens - half * CK_BLOCK_TOKENS;
    if (record == nullptr || keys <= 0) continue;
    int pairs = keys >= CK_BLOCK_TOKENS ? CK_BLOCK_TOKENS / 2 : (keys + 1) / 2;
    auto* v = reinterpret_cast<const int16_t*>(record + values) + column * 2;
    auto* weights = reinterpret_cast<const int32_t*>(t.weights + query * 256 + sum * kSumTokens +
                                                     half * CK_BLOCK_TOKENS);
    for (int p = 0; p < pairs; p++) products.add(v + p * width * 2, weights + p, 128);
  }
  for (int r = 0; r < count; r++) {
    float32x4_t unscale = vdupq_n_f32(t.unscale[(query + r) * kSpanSums + sum]);
    float* out = t.out + size_t(query + r) * width + column;
    for (int i = 0; i < 4; i++) {
      vst1q_f32(out + 4 * i, vfmaq_f32(vld1q_f32(out + 4 * i), products.sum(r, i), unscale));
    }
  }
}

using Score = void (*)(const SpanTask&, int query, int tile);
using Mix = void (*)(const SpanTask&, int query, int column, int sum, int last);
constexpr Score kScore[] = {nullptr, score<1>, score<2>, score<3>};
constexpr Mix kMix[] = {nullptr, mix<1>, mix<2>, mix<3>};

void span(const SpanTask& t) {
  int first = 256, last = 0;
  for (int i = 0; i < t.queries; i++) {
    if (t.first[i] == t.last[i]) continue;
    first = t.first[i] < first ? t.first[i] : first;
    last = t.last[i] > last ? t.last[i] : last;
  }
  size_t floats = size_t(t.queries) * t.shape.width;
  for (size_t i = 0; i < floats; i += kLanes) vst1q_f32(t.out + i, vdupq_n_f32(0));
  if (first >= last) return;
  auto count = [&](int i) { return t.queries - i < kMostQueries ? t.queries - i : kMostQueries; };
  for (int tile = first / kTileTokens; tile <= (last - 1) / kTileTokens; tile++) {
    for (int i = 0; i < t.queries; i += kMostQueries) kScore[count(i)](t, i, tile);
  }
  int first_sum = first / kSumTokens, last_sum = (last - 1) / kSumTokens;
  for (int i = 0; i < t.queries; i++) {
    t.largest[i] = largest_score(t, i);
    weigh(t, i, first_sum, last_sum);
  }
  for (int s = first_sum; s <= last_sum; s++) {
    for (int i = 0; i < t.queries; i += kMostQueries) {
      for (int c = 0; c < t.shape.width; c += 16) kMix[count(i)](t, i, c, s, last);
    }
  }
}

void merge(int width, int first, const float* largest, const float* sum, const float* out,
           float* total_largest, float* total_sum, float* total_out) {
  if (first) {
    *total_largest = *largest;
    *total_sum = *sum;
    for (int i = 0; i < width; i += kLanes) vst1q_f32(total_out + i, vld1q_f32(out + i));
    return;
  }
  float both = *largest > *total_largest ? *largest : *total_largest;
  float32x4_t old_factor = exponential(vdupq_n_f32(*total_largest - both));
  float32x4_t new_factor = exponential(vdupq_n_f32(*largest - both));
  float32x4_t sums = vmulq_n_f32(old_factor, *total_sum);
  *total_largest = both;
  *total_sum = vgetq_lane_f32(vfmaq_n_f32(sums, new_factor, *sum), 0);
  for (int i = 0; i < width; i += kLanes) {
    float32x4_t o = vmulq_f32(vld1q_f32(total_out + i), old_factor);
    vst1q_f32(total_out + i, vfmaq_f32(o, vld1q_f32(out + i), new_factor));
  }
}

void finish(int head_dim, const float* total_out, float sum, float* out) {
  for (int i = 0; i < head_dim; i += kLanes) {
    vst1q_f32(out + i, vdivq_f32(vld1q_f32(total_out + i), vdupq_n_f32(sum)));
  }
}

constexpr AttendKernels kKernels = {append, query, span, merge, finish};

}  // namespace

extern const AttendKernels* const kAttendNeon;
const AttendKernels* const kAttendNeon = &kKernels;

}  // namespace ck

#endif
