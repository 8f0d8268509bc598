// attend for AVX-512 with VNNI: 16 keys, or 16 columns of values, are the lanes of a register, and
// vpdpwssd adds the products of two columns (of two keys) to each.
#if defined(__x86_64__)

#include <immintrin.h>

#include "../kv/kv.hpp"
#include "kernels.hpp"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)

namespace ck {

// In avx512_rows.cpp.
void query_avx512(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
                  float* scale);
void append_avx512(const AttendShape& shape, const float* k, const float* v, const float* rotation,
                   uint8_t* record, int slot);

namespace {

constexpr int kLanes = 16;
constexpr int kMostQueries = 6;       // that share a load of keys or values
constexpr int kMostColumns = 4;       // vectors of columns that are summed at once
constexpr int kLinesAPair = 3;        // fetched while two columns of 32 keys, two lines, are scored
constexpr int kLinesAWeighing = 8;    // fetched while 64 keys are weighed
constexpr float kMostWeight = 32767;  // sums of 64 weights times values fit an int32
constexpr float kMostWeights = 131000;
constexpr float kLog2E = 1.44269504f;

__mmask16 lanes(int count) {
  return count >= kLanes ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}

/// Lanes of the tile of keys at `key` that lie in first ..< last.
__mmask16 lanes_between(int key, int first, int last) {
  __mmask16 before = last <= key ? 0 : lanes(last - key);
  return first <= key ? before : before & ~lanes(first - key);
}

/// 2^x; NaN stays NaN. The polynomial's relative error on [-0.5, 0.5] is below 3e-6.
__m512 exponential(__m512 x) {
  __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(0.009570102f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05591786f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024744f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931218f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.9999993f));
  return _mm512_scalef_ps(p, n);
}

/// log2(e) * cap * tanh(x / cap)
__m512 capped(__m512 x, float cap) {
  __m512 twice = _mm512_mul_ps(x, _mm512_set1_ps(2 * kLog2E / cap));
  twice = _mm512_max_ps(_mm512_set1_ps(-60), _mm512_min_ps(_mm512_set1_ps(60), twice));
  __m512 e = _mm512_add_ps(exponential(twice), _mm512_set1_ps(1));
  __m512 tanh = _mm512_sub_ps(_mm512_set1_ps(1), _mm512_div_ps(_mm512_set1_ps(2), e));
  return _mm512_mul_ps(tanh, _mm512_set1_ps(cap * kLog2E));
}

/// The queries of a task are worked on in groups, which take turns in fetching what is read next:
/// memory is busy all the time then, and not only while the first group is worked on.
struct Group {
  int first, count;  // queries
  int turn, turns;

  Group(const SpanTask& t, int index, int groups)
      : first(t.queries * index / groups),
        count(t.queries * (index + 1) / groups - first),
        turn(index),
        turns(groups) {}
};

template <int lines>
__attribute__((always_inline)) inline void fetch(Fetch& f) {
  if (f.lines < lines) f.advance(f);
#pragma clang loop unroll(full)
  for (int i = 0; i < lines; i++) _mm_prefetch(f.at + i * f.stride, _MM_HINT_T1);
  f.at += lines * f.stride;
  f.lines -= lines;
}

/// Scores of a group of `count` queries with the 32 keys of a record.
template <int count>
void score(const SpanTask& t, const Group& group, int record_index) {
  const int query = group.first;
  RecordLayout layout(t.shape.head_dim);
  const uint8_t* record = t.records[record_index];
  const uint8_t *tile0 = record, *tile1 = record + layout.tile_bytes();
  auto* q = reinterpret_cast<const int32_t*>(t.q + size_t(query) * t.shape.width);
  int pairs = t.shape.width / 2;
  __m512i sums[count][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) sums[i][0] = sums[i][1] = _mm512_setzero_si512();
  for (int p = 0, until_turn = group.turn; p < pairs; p++, until_turn--) {
    __m512i k0 = _mm512_loadu_si512(tile0 + p * 64), k1 = _mm512_loadu_si512(tile1 + p * 64);
    if (until_turn == 0) {
      until_turn = group.turns;
      fetch<kLinesAPair>(*t.fetch);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < count; i++) {
      __m512i columns = _mm512_set1_epi32(q[i * pairs + p]);
      sums[i][0] = _mm512_dpwssd_epi32(sums[i][0], k0, columns);
      sums[i][1] = _mm512_dpwssd_epi32(sums[i][1], k1, columns);
    }
  }
  auto* scales = reinterpret_cast<const float*>(record + layout.key_scales());
  for (int half = 0; half < 2; half++) {
    __m512 scale = _mm512_loadu_ps(scales + half * kLanes);
#pragma clang loop unroll(full)
    for (int i = 0; i < count; i++) {
      __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(t.q_scales[query + i]));
      _mm512_storeu_ps(t.scores + (query + i) * 256 + record_index * 32 + half * kLanes,
                       _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i][half]), both));
    }
  }
}

/// The largest score of a query among the keys that it sees; caps the scores first.
float largest_score(const SpanTask& t, int query) {
  int first = t.first[query], last = t.last[query];
  float* scores = t.scores + query * 256;
  if (t.shape.soft_cap != 0) {
    for (int key = first / kLanes * kLanes; key < last; key += kLanes) {
      _mm512_storeu_ps(scores + key, capped(_mm512_loadu_ps(scores + key), t.shape.soft_cap));
    }
  }
  // Four at once: a maximum has no order, but each instruction waits for the one before.
  __m512 least = _mm512_set1_ps(-__builtin_inff());
  __m512 largest[4] = {least, least, least, least};
  int key = first / kLanes * kLanes;
  if (first == key) {
    for (; key + 4 * kLanes <= last; key += 4 * kLanes) {
#pragma clang loop unroll(full)
      for (int i = 0; i < 4; i++) {
        largest[i] = _mm512_max_ps(largest[i], _mm512_loadu_ps(scores + key + i * kLanes));
      }
    }
  }
  for (; key < last; key += kLanes) {
    largest[0] = _mm512_mask_max_ps(largest[0], lanes_between(key, first, last), largest[0],
                                    _mm512_loadu_ps(scores + key));
  }
  return _mm512_reduce_max_ps(
      _mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3])));
}

/// Running results of a query's weights, by lane.
struct Weighed {
  __m512 total;                             // sum of weights
  __m512 most[kSpanSums], sums[kSpanSums];  // of weights times values' scales
};

/// Weights of 64 keys times the values' scales. `whole`: all of them are seen.
template <bool whole>
__attribute__((always_inline)) inline void weigh_keys(const SpanTask& t, int query, int s,
                                                      size_t value_scales, Weighed& weighed) {
  float* scores = t.scores + query * 256 + s * kSumTokens;
  __m512 largest = _mm512_set1_ps(t.largest[query]);
  __m512 most = _mm512_setzero_ps(), sum = _mm512_setzero_ps();
#pragma clang loop unroll(full)
  for (int i = 0; i < kSumTokens / kLanes; i++) {
    __mmask16 mask = 0xffff;
    if constexpr (!whole) {
      mask = lanes_between(s * kSumTokens + i * kLanes, t.first[query], t.last[query]);
      if (mask == 0) {
        _mm512_storeu_ps(scores + i * kLanes, _mm512_setzero_ps());
        continue;
      }
    }
    __m512 p = exponential(_mm512_sub_ps(_mm512_loadu_ps(scores + i * kLanes), largest));
    const uint8_t* record = t.records[s * 2 + i / 2];
    auto* at = reinterpret_cast<const float*>(record + value_scales) + i % 2 * kLanes;
    __m512 scale;
    if constexpr (whole) {
      scale = _mm512_loadu_ps(at);
    } else {
      p = _mm512_maskz_mov_ps(mask, p);
      scale = _mm512_maskz_loadu_ps(mask, at);
    }
    weighed.total = _mm512_add_ps(weighed.total, p);
    __m512 weight = _mm512_mul_ps(p, scale);
    most = _mm512_max_ps(most, weight);
    sum = _mm512_add_ps(sum, weight);
    _mm512_storeu_ps(scores + i * kLanes, weight);
  }
  weighed.most[s] = most;
  weighed.sums[s] = sum;
}

/// Across the lanes of each of four registers.
__m128 sums_of(const __m512 (&v)[4]) {
  __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
  __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
  __m512d lo = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  __m512d hi = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  __m512 abcd = _mm512_add_ps(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi));
  __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

__m128 largest_of(const __m512 (&v)[4]) {
  __m512 ab = _mm512_max_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
  __m512 cd = _mm512_max_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
  __m512d lo = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  __m512d hi = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  __m512 abcd = _mm512_max_ps(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi));
  __m256 half = _mm256_max_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/// Weights of one query, 2^(score - largest), and their sum; times the values' scales, they take
/// the scores' place.
void weigh(const SpanTask& t, int query, int first_sum, int last_sum) {
  size_t value_scales = RecordLayout(t.shape.head_dim).value_scales();
  Weighed weighed;
  weighed.total = _mm512_setzero_ps();
  if (t.first[query] == 0 && t.last[query] == 256) {
#pragma clang loop unroll(full)
    for (int s = 0; s < kSpanSums; s++) {
      fetch<kLinesAWeighing>(*t.fetch);
      weigh_keys<true>(t, query, s, value_scales, weighed);
    }
  } else {
    for (int s = 0; s < kSpanSums; s++) {
      weighed.most[s] = weighed.sums[s] = _mm512_setzero_ps();
      if (s < first_sum || s > last_sum) continue;
      weigh_keys<false>(t, query, s, value_scales, weighed);
    }
  }
  t.sums[query] = _mm512_reduce_add_ps(weighed.total);
  // NaN in a sum stays.
  __m128 unscale = _mm_max_ps(_mm_mul_ps(largest_of(weighed.most), _mm_set1_ps(1 / kMostWeight)),
                              _mm_mul_ps(sums_of(weighed.sums), _mm_set1_ps(1 / kMostWeights)));
  _mm_storeu_ps(t.unscale + query * kSpanSums, unscale);
}

/// Weights as integers.
void quantize_weights(const SpanTask& t, int query, int first_sum, int last_sum) {
  const float* scores = t.scores + query * 256;
  int16_t* weights = t.weights + query * 256;
  __m128 unscale = _mm_loadu_ps(t.unscale + query * kSpanSums);
  __mmask8 some = _mm_cmp_ps_mask(unscale, _mm_setzero_ps(), _CMP_NEQ_UQ);
  alignas(16) float scale[kSpanSums];
  _mm_store_ps(scale, _mm_maskz_div_ps(some, _mm_set1_ps(1), unscale));
  for (int s = first_sum; s <= last_sum; s++) {
    __m512 by = _mm512_set1_ps(scale[s]);
#pragma clang loop unroll(full)
    for (int i = 0; i < kSumTokens; i += kLanes) {
      __m512 w = _mm512_mul_ps(_mm512_loadu_ps(scores + s * kSumTokens + i), by);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + s * kSumTokens + i),
                          _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(w)));
    }
  }
}

/// Adds weights . values of one sum's keys to `columns` vectors of `count` queries' results.
template <int count, int columns>
void mix(const SpanTask& t, const Group& group, int column, int sum, int last) {
  const int query = group.first;
  int until_turn = group.turn;
  int width = t.shape.width;
  size_t values = RecordLayout(t.shape.head_dim).values();
  __m512i sums[count][columns];
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) {
#pragma clang loop unroll(full)
    for (int c = 0; c < columns; c++) sums[i][c] = _mm512_setzero_si512();
  }
  for (int half = 0; half < 2; half++) {
    const uint8_t* record = t.records[sum * 2 + half];
    int keys = last - sum * kSumTokens - half * CK_BLOCK_TOKENS;
    if (record == nullptr || keys <= 0) continue;
    int pairs = keys >= CK_BLOCK_TOKENS ? CK_BLOCK_TOKENS / 2 : (keys + 1) / 2;
    const uint8_t* v = record + values + column * 64;
    auto* weights = reinterpret_cast<const int32_t*>(t.weights + query * 256 + sum * kSumTokens +
                                                     half * CK_BLOCK_TOKENS);
    for (int p = 0; p < pairs; p++, v += width * 4, until_turn--) {
      if (until_turn == 0) {
        until_turn = group.turns;
        fetch<columns>(*t.fetch);
      }
      __m512i weight[count];
#pragma clang loop unroll(full)
      for (int i = 0; i < count; i++) weight[i] = _mm512_set1_epi32(weights[i * 128 + p]);
#pragma clang loop unroll(full)
      for (int c = 0; c < columns; c++) {
        __m512i value = _mm512_loadu_si512(v + c * 64);
#pragma clang loop unroll(full)
        for (int i = 0; i < count; i++) {
          sums[i][c] = _mm512_dpwssd_epi32(sums[i][c], value, weight[i]);
        }
      }
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) {
    __m512 unscale = _mm512_set1_ps(t.unscale[(query + i) * kSpanSums + sum]);
    float* out = t.out + size_t(query + i) * width + column * kLanes;
#pragma clang loop unroll(full)
    for (int c = 0; c < columns; c++) {
      __m512 before = _mm512_loadu_ps(out + c * kLanes);
      _mm512_storeu_ps(out + c * kLanes,
                       _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i][c]), unscale, before));
    }
  }
}

template <int count>
void mix_columns(const SpanTask& t, const Group& group, int sum, int last) {
  int vectors = t.shape.width / kLanes, c = 0;
  for (; c + kMostColumns <= vectors; c += kMostColumns) {
    mix<count, kMostColumns>(t, group, c, sum, last);
  }
  for (; c < vectors; c++) mix<count, 1>(t, group, c, sum, last);
}

using Score = void (*)(const SpanTask&, const Group&, int record);
using Mix = void (*)(const SpanTask&, const Group&, int sum, int last);
constexpr Score kScore[] = {nullptr, score<1>, score<2>, score<3>, score<4>, score<5>, score<6>};
constexpr Mix kMix[] = {nullptr,        mix_columns<1>, mix_columns<2>, mix_columns<3>,
                        mix_columns<4>, mix_columns<5>, mix_columns<6>};

void span(const SpanTask& t) {
  int first = 256, last = 0;
  for (int i = 0; i < t.queries; i++) {
    if (t.first[i] == t.last[i]) continue;
    first = t.first[i] < first ? t.first[i] : first;
    last = t.last[i] > last ? t.last[i] : last;
  }
  size_t floats = size_t(t.queries) * t.shape.width;
  for (size_t i = 0; i < floats; i += kLanes) _mm512_storeu_ps(t.out + i, _mm512_setzero_ps());
  if (first >= last) return;
  const int groups = (t.queries + kMostQueries - 1) / kMostQueries;
  for (int r = first / CK_BLOCK_TOKENS; r <= (last - 1) / CK_BLOCK_TOKENS; r++) {
    for (int i = 0; i < groups; i++) {
      Group group(t, i, groups);
      kScore[group.count](t, group, r);
    }
  }
  int first_sum = first / kSumTokens, last_sum = (last - 1) / kSumTokens;
  for (int i = 0; i < t.queries; i++) t.largest[i] = largest_score(t, i);
  for (int i = 0; i < t.queries; i++) weigh(t, i, first_sum, last_sum);
  for (int i = 0; i < t.queries; i++) quantize_weights(t, i, first_sum, last_sum);
  for (int s = first_sum; s <= last_sum; s++) {
    for (int i = 0; i < groups; i++) {
      Group group(t, i, groups);
      kMix[group.count](t, group, s, last);
    }
  }
}

void merge(int width, int first, const float* largest, const float* sum, const float* out,
           float* total_largest, float* total_sum, float* total_out) {
  if (first) {
    *total_largest = *largest;
    *total_sum = *sum;
    for (int i = 0; i < width; i += kLanes) {
      _mm512_storeu_ps(total_out + i, _mm512_loadu_ps(out + i));
    }
    return;
  }
  __m512 old_largest = _mm512_set1_ps(*total_largest), new_largest = _mm512_set1_ps(*largest);
  __m512 both = _mm512_max_ps(old_largest, new_largest);
  __m512 old_factor = exponential(_mm512_sub_ps(old_largest, both));
  __m512 new_factor = exponential(_mm512_sub_ps(new_largest, both));
  __m512 sums = _mm512_mul_ps(_mm512_set1_ps(*total_sum), old_factor);
  sums = _mm512_fmadd_ps(_mm512_set1_ps(*sum), new_factor, sums);
  *total_largest = _mm512_cvtss_f32(both);
  *total_sum = _mm512_cvtss_f32(sums);
  for (int i = 0; i < width; i += kLanes) {
    __m512 o = _mm512_mul_ps(_mm512_loadu_ps(total_out + i), old_factor);
    _mm512_storeu_ps(total_out + i, _mm512_fmadd_ps(_mm512_loadu_ps(out + i), new_factor, o));
  }
}

void finish(int head_dim, const float* total_out, float sum, float* out) {
  for (int i = 0; i < head_dim; i += kLanes) {
    __mmask16 mask = lanes(head_dim - i);
    __m512 v = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, total_out + i), _mm512_set1_ps(sum));
    _mm512_mask_storeu_ps(out + i, mask, v);
  }
}

constexpr AttendKernels kKernels = {append_avx512, query_avx512, span, merge, finish};

}  // namespace

extern const AttendKernels* const kAttendAvx512;
const AttendKernels* const kAttendAvx512 = &kKernels;

}  // namespace ck

#pragma clang attribute pop

#endif
