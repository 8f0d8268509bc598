// What attend asks of an instruction set. Arguments are plain data, and the files behind these
// pointers share no inline code (see linear/kernels.hpp).
#ifndef CK_ATTEND_KERNELS_HPP
#define CK_ATTEND_KERNELS_HPP

#include <cstddef>
#include <cstdint>

#include "../include/ckernels.h"

namespace ck {

constexpr int kSumTokens = 64;  // of a span: summed as integers, with one scale of the weights
constexpr int kSpanSums = 4;

/// A head's vector, quantized: value = scale * q. int16 [width], zero beyond head_dim.
struct AttendShape {
  int head_dim, width;
  float soft_cap;  // 0: none
};

/// Memory that a thread reads soon, as lines to fetch: a kernel may fetch a few while it works on
/// others, `at` and those `stride` bytes apart after it. It then moves `at` on and counts `lines`
/// down, and calls `advance` first when fewer are left than it is about to fetch. There are lines
/// without end: in the end one is repeated.
struct Fetch {
  const uint8_t* at;
  ptrdiff_t stride;
  int lines;
  void (*advance)(Fetch&);
};

/// Queries against one span of one KV head.
struct SpanTask {
  AttendShape shape;
  int queries;
  const int16_t* q;  // [queries, width]
  // [queries]: with the softmax's scale and, unless there is a soft cap, log2(e): scores below are
  // such that a weight is 2^(score - largest).
  const float* q_scales;
  const uint8_t* records[8];  // the span's blocks; null where no query sees a key of it
  Fetch* fetch;
  const int32_t* first;  // [queries]: keys first ..< last of the span are seen; none if equal
  const int32_t* last;
  float* scores;     // scratch [queries, 256]
  int16_t* weights;  // scratch [queries, 256]
  float* unscale;    // scratch [queries, 4]
  // Results: largest score, sum of weights, and sum of weights times values.
  float* largest;  // [queries]
  float* sums;     // [queries]
  float* out;      // [queries, width]
};

struct AttendKernels {
  /// Rotates k, quantizes k and v, and writes them as token `slot` of a record.
  void (*append)(const AttendShape& shape, const float* k, const float* v, const float* rotation,
                 uint8_t* record, int slot);
  /// Rotates and quantizes one query.
  void (*query)(const AttendShape& shape, const float* q, const float* rotation, int16_t* out,
                float* scale);
  void (*span)(const SpanTask& task);
  /// Adds a later span's result to that of earlier ones; the first is copied.
  void (*merge)(int width, int first, const float* largest, const float* sum, const float* out,
                float* total_largest, float* total_sum, float* total_out);
  /// out / sum
  void (*finish)(int head_dim, const float* total_out, float sum, float* out);
};

/// Null where this build has none.
const AttendKernels* attend_kernels(ck_isa isa);

}  // namespace ck

#endif  // CK_ATTEND_KERNELS_HPP
