// attend for registers of 8 lanes. Included by one file per way to make integer dot products, after
// it has defined
//   __m256i add_products(__m256i sums, __m256i a, __m256i b);
// which adds to each lane the products of two int16. Everything has internal linkage.

namespace ck {
namespace {

constexpr int kLanes = 8;
constexpr int kMostQueries = 4;  // that share a load of keys or values
constexpr int kMostHeadDim = 1024;
constexpr float kMostWeight = 32767;  // sums of 64 weights times values fit an int32
constexpr float kMostWeights = 131000;
constexpr float kLog2E = 1.44269504f;

/// Lanes i with first <= key + i < last.
__m256i lanes_between(int key, int first, int last) {
  __m256i lane =
      _mm256_add_epi32(_mm256_set1_epi32(key), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(first), lane),
                             _mm256_cmpgt_epi32(_mm256_set1_epi32(last), lane));
}

/// Whether all lanes are.
bool sees_all(int key, int first, int last) { return first <= key && key + kLanes <= last; }

__m256i lanes(int count) { return lanes_between(0, 0, count); }

__m256 masked(__m256 x, __m256i mask) { return _mm256_and_ps(x, _mm256_castsi256_ps(mask)); }

float sum_of(__m256 v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

float largest_of(__m256 v) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// 2^x for x <= 127, 0 below -126; NaN stays NaN. The polynomial's relative error on [-0.5, 0.5] is
/// below 3e-6.
__m256 exponential(__m256 x) {
  x = _mm256_max_ps(_mm256_set1_ps(-127), x);
  __m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 f = _mm256_sub_ps(x, n);
  __m256 p = _mm256_set1_ps(0.009570102f);
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.05591786f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.24024744f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.6931218f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.9999993f));
  __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

/// log2(e) * cap * tanh(x / cap)
__m256 capped(__m256 x, float cap) {
  __m256 twice = _mm256_mul_ps(x, _mm256_set1_ps(2 * kLog2E / cap));
  twice = _mm256_max_ps(_mm256_set1_ps(-60), _mm256_min_ps(_mm256_set1_ps(60), twice));
  __m256 e = _mm256_add_ps(exponential(twice), _mm256_set1_ps(1));
  __m256 tanh = _mm256_sub_ps(_mm256_set1_ps(1), _mm256_div_ps(_mm256_set1_ps(2), e));
  return _mm256_mul_ps(tanh, _mm256_set1_ps(cap * kLog2E));
}

/// Halves layout; out is zero beyond head_dim up to width.
void rotate(const AttendShape& shape, const float* x, const float* rotation, float* out) {
  int half = shape.head_dim / 2;
  for (int i = shape.head_dim; i < shape.width; i++) out[i] = 0;
  for (int i = 0; i < half; i += kLanes) {
    __m256i mask = lanes(half - i);
    __m256 a = _mm256_maskload_ps(x + i, mask), b = _mm256_maskload_ps(x + half + i, mask);
    __m256 c = _mm256_maskload_ps(rotation + i, mask);
    __m256 s = _mm256_maskload_ps(rotation + half + i, mask);
    _mm256_maskstore_ps(out + i, mask, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    _mm256_maskstore_ps(out + half + i, mask, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
  }
}

/// Quantizes x [head_dim] to out [width], zero beyond head_dim; returns the scale. norm: the length
/// to scale to at most, 0: any.
float quantize(const AttendShape& shape, const float* x, float norm, float largest, int16_t* out) {
  const __m256i magnitude_bits = _mm256_set1_epi32(0x7fffffff);
  __m256i bits = _mm256_setzero_si256();
  for (int i = 0; i < shape.head_dim; i += kLanes) {
    __m256i v = _mm256_castps_si256(_mm256_loadu_ps(x + i));
    bits = _mm256_max_epi32(bits, _mm256_and_si256(v, magnitude_bits));
  }
  alignas(32) int32_t lane[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), bits);
  union {
    int32_t bits;
    float value;
  } magnitude = {0};
  for (int i = 0; i < kLanes; i++)
    magnitude.bits = lane[i] > magnitude.bits ? lane[i] : magnitude.bits;
  bool finite = magnitude.bits < 0x7f800000;
  if (!finite || magnitude.value < 1e-30f) {
    for (int i = 0; i < shape.width; i++) out[i] = 0;
    return finite ? 0 : __builtin_nanf("");
  }
  __m256 divisor = _mm256_set1_ps(magnitude.value);
  float factor = largest;
  if (norm > 0) {
    __m256 squares = _mm256_setzero_ps();
    for (int i = 0; i < shape.head_dim; i += kLanes) {
      __m256 v = _mm256_div_ps(_mm256_loadu_ps(x + i), divisor);
      squares = _mm256_fmadd_ps(v, v, squares);
    }
    float by_norm = norm / __builtin_sqrtf(sum_of(squares));
    factor = by_norm < factor ? by_norm : factor;
  }
  for (int i = 0; i < shape.head_dim; i += kLanes) {
    __m256 v = _mm256_div_ps(_mm256_loadu_ps(x + i), divisor);
    __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(factor)));
    __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), packed);
  }
  for (int i = shape.head_dim; i < shape.width; i++) out[i] = 0;
  return magnitude.value / factor;
}

void query(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
           float* scale) {
  alignas(32) float rotated[kMostHeadDim];
  rotate(shape, q, rotation, rotated);
  *scale = quantize(shape, rotated, kKeyNorm, kKeyLargest, out);
}

void append(const AttendShape& shape, const float* k, const float* v, const float* rotation,
            uint8_t* record, int slot) {
  RecordLayout layout(shape.head_dim);
  alignas(32) float rotated[kMostHeadDim];
  alignas(32) int16_t columns[kMostHeadDim];
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

inline void fetch_line(Fetch& f) {
  if (f.lines == 0) f.advance(f);
  _mm_prefetch(f.at, _MM_HINT_T1);
  f.at += f.stride;
  f.lines--;
}

/// Scores of `count` queries with a tile of 16 keys.
template <int count>
void score(const SpanTask& t, int query, int tile) {
  RecordLayout layout(t.shape.head_dim);
  const uint8_t* record = t.records[tile / 2];
  const uint8_t* keys = record + tile % 2 * layout.tile_bytes();
  auto* q = reinterpret_cast<const int32_t*>(t.q + size_t(query) * t.shape.width);
  int pairs = t.shape.width / 2;
  __m256i sums[count][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
  for (int p = 0; p < pairs; p++) {
    __m256i k0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(keys + p * 64));
    __m256i k1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(keys + p * 64 + 32));
    if (query == 0) fetch_line(*t.fetch);
#pragma clang loop unroll(full)
    for (int i = 0; i < count; i++) {
      __m256i columns = _mm256_set1_epi32(q[i * pairs + p]);
      sums[i][0] = add_products(sums[i][0], k0, columns);
      sums[i][1] = add_products(sums[i][1], k1, columns);
    }
  }
  auto* scales = reinterpret_cast<const float*>(record + layout.key_scales()) + tile % 2 * 16;
  for (int half = 0; half < 2; half++) {
    __m256 scale = _mm256_loadu_ps(scales + half * kLanes);
#pragma clang loop unroll(full)
    for (int i = 0; i < count; i++) {
      __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(t.q_scales[query + i]));
      _mm256_storeu_ps(t.scores + (query + i) * 256 + tile * kTileTokens + half * kLanes,
                       _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i][half]), both));
    }
  }
}

/// The largest score of a query among the keys that it sees; caps the scores first.
float largest_score(const SpanTask& t, int query) {
  int first = t.first[query], last = t.last[query];
  float* scores = t.scores + query * 256;
  const __m256 least = _mm256_set1_ps(-__builtin_inff());
  __m256 largest = least;
  for (int key = first / kLanes * kLanes; key < last; key += kLanes) {
    __m256 s = _mm256_loadu_ps(scores + key);
    if (t.shape.soft_cap != 0) {
      s = capped(s, t.shape.soft_cap);
      _mm256_storeu_ps(scores + key, s);
    }
    if (!sees_all(key, first, last)) {
      s = _mm256_blendv_ps(least, s, _mm256_castsi256_ps(lanes_between(key, first, last)));
    }
    largest = _mm256_max_ps(largest, s);
  }
  return largest_of(largest);
}

/// Weights of one query, 2^(score - largest), and their sum; times the values' scales, as int16.
void weigh(const SpanTask& t, int query, int first_sum, int last_sum) {
  int first = t.first[query], last = t.last[query];
  size_t value_scales = RecordLayout(t.shape.head_dim).value_scales();
  const __m256 largest = _mm256_set1_ps(t.largest[query]);
  __m256 total = _mm256_setzero_ps();
  for (int s = first_sum; s <= last_sum; s++) {
    float* scores = t.scores + query * 256 + s * kSumTokens;
    __m256 most = _mm256_setzero_ps(), sum = _mm256_setzero_ps();
    for (int i = 0; i < kSumTokens; i += kLanes) {
      int key = s * kSumTokens + i;
      const uint8_t* record = t.records[key / CK_BLOCK_TOKENS];
      __m256 weight = _mm256_setzero_ps();
      if (key < last && key + kLanes > first) {
        __m256 p = exponential(_mm256_sub_ps(_mm256_loadu_ps(scores + i), largest));
        auto* scales = reinterpret_cast<const float*>(record + value_scales);
        __m256 scale = _mm256_loadu_ps(scales + key % CK_BLOCK_TOKENS);
        if (!sees_all(key, first, last)) {
          __m256i mask = lanes_between(key, first, last);
          p = masked(p, mask);
          scale = masked(scale, mask);
        }
        total = _mm256_add_ps(total, p);
        weight = _mm256_mul_ps(p, scale);
      }
      most = _mm256_max_ps(most, weight);
      sum = _mm256_add_ps(sum, weight);
      _mm256_storeu_ps(scores + i, weight);
    }
    float by_sum = sum_of(sum) * (1 / kMostWeights), by_most = largest_of(most) * (1 / kMostWeight);
    float unscale = by_most > by_sum ? by_most : by_sum;  // NaN in the sum stays
    t.unscale[query * kSpanSums + s] = unscale;
    __m256 scale = _mm256_set1_ps(unscale == 0 ? 0 : 1 / unscale);
    int16_t* weights = t.weights + query * 256 + s * kSumTokens;
    for (int i = 0; i < kSumTokens; i += 2 * kLanes) {
      __m256 a = _mm256_mul_ps(_mm256_loadu_ps(scores + i), scale);
      __m256 b = _mm256_mul_ps(_mm256_loadu_ps(scores + i + kLanes), scale);
      __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + i),
                          _mm256_permute4x64_epi64(packed, 0xd8));
    }
  }
  t.sums[query] = sum_of(total);
}

/// Adds weights . values of one sum's keys to 16 columns of `count` queries' results.
template <int count>
void mix(const SpanTask& t, int query, int column, int sum, int last) {
  int width = t.shape.width;
  size_t values = RecordLayout(t.shape.head_dim).values();
  __m256i sums[count][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
  for (int half = 0; half < 2; half++) {
    const uint8_t* record = t.records[sum * 2 + half];
    int keys = last - sum * kSumTokens - half * CK_BLOCK_TOKENS;
    if (record == nullptr || keys <= 0) continue;
    int pairs = keys >= CK_BLOCK_TOKENS ? CK_BLOCK_TOKENS / 2 : (keys + 1) / 2;
    const uint8_t* v = record + values + column * 4;
    auto* weights = reinterpret_cast<const int32_t*>(t.weights + query * 256 + sum * kSumTokens +
                                                     half * CK_BLOCK_TOKENS);
    for (int p = 0; p < pairs; p++, v += width * 4) {
      __m256i v0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(v));
      __m256i v1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(v + 32));
      if (query == 0) fetch_line(*t.fetch);
#pragma clang loop unroll(full)
      for (int i = 0; i < count; i++) {
        __m256i weight = _mm256_set1_epi32(weights[i * 128 + p]);
        sums[i][0] = add_products(sums[i][0], v0, weight);
        sums[i][1] = add_products(sums[i][1], v1, weight);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) {
    __m256 unscale = _mm256_set1_ps(t.unscale[(query + i) * kSpanSums + sum]);
    float* out = t.out + size_t(query + i) * width + column;
    for (int half = 0; half < 2; half++, out += kLanes) {
      __m256 before = _mm256_loadu_ps(out);
      _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i][half]), unscale, before));
    }
  }
}

using Score = void (*)(const SpanTask&, int query, int tile);
using Mix = void (*)(const SpanTask&, int query, int column, int sum, int last);
constexpr Score kScore[] = {nullptr, score<1>, score<2>, score<3>, score<4>};
constexpr Mix kMix[] = {nullptr, mix<1>, mix<2>, mix<3>, mix<4>};

void span(const SpanTask& t) {
  int first = 256, last = 0;
  for (int i = 0; i < t.queries; i++) {
    if (t.first[i] == t.last[i]) continue;
    first = t.first[i] < first ? t.first[i] : first;
    last = t.last[i] > last ? t.last[i] : last;
  }
  size_t floats = size_t(t.queries) * t.shape.width;
  for (size_t i = 0; i < floats; i += kLanes) _mm256_storeu_ps(t.out + i, _mm256_setzero_ps());
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
    for (int i = 0; i < width; i += kLanes) {
      _mm256_storeu_ps(total_out + i, _mm256_loadu_ps(out + i));
    }
    return;
  }
  __m256 old_largest = _mm256_set1_ps(*total_largest), new_largest = _mm256_set1_ps(*largest);
  __m256 both = _mm256_max_ps(old_largest, new_largest);
  __m256 old_factor = exponential(_mm256_sub_ps(old_largest, both));
  __m256 new_factor = exponential(_mm256_sub_ps(new_largest, both));
  __m256 sums = _mm256_mul_ps(_mm256_set1_ps(*total_sum), old_factor);
  sums = _mm256_fmadd_ps(_mm256_set1_ps(*sum), new_factor, sums);
  *total_largest = _mm256_cvtss_f32(both);
  *total_sum = _mm256_cvtss_f32(sums);
  for (int i = 0; i < width; i += kLanes) {
    __m256 o = _mm256_mul_ps(_mm256_loadu_ps(total_out + i), old_factor);
    _mm256_storeu_ps(total_out + i, _mm256_fmadd_ps(_mm256_loadu_ps(out + i), new_factor, o));
  }
}

void finish(int head_dim, const float* total_out, float sum, float* out) {
  for (int i = 0; i < head_dim; i += kLanes) {
    _mm256_storeu_ps(out + i, _mm256_div_ps(_mm256_loadu_ps(total_out + i), _mm256_set1_ps(sum)));
  }
}

constexpr AttendKernels kKernels = {append, query, span, merge, finish};

}  // namespace
}  // namespace ck
