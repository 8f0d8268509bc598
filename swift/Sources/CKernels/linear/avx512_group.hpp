// Rows as AVX-512 has them in int8.
#ifndef CK_LINEAR_AVX512_GROUP_HPP
#define CK_LINEAR_AVX512_GROUP_HPP

#include "kernels.hpp"

namespace ck {

/// What stands in an ActivationGroup's place here: value = unit * multiple[half] * q.
struct alignas(32) Avx512Group {
  int16_t multiple[2];
  int32_t offset4;      // -8 * whole: what the zero point of s4 adds
  float scale[2];       // the multiples
  float sum;            // of multiple * q
  float offset8;        // -128 * sum
  float unit;           // of the row
  int16_t half_sum[2];  // of q
};
static_assert(sizeof(Avx512Group) == sizeof(ActivationGroup));

void quantize_avx512(const float* x, int columns, int8_t* values, ActivationGroup* groups);

}  // namespace ck

#endif  // CK_LINEAR_AVX512_GROUP_HPP
