// Rows as AVX2 has them in int8.
#ifndef CK_LINEAR_AVX2_GROUP_HPP
#define CK_LINEAR_AVX2_GROUP_HPP

#include "kernels.hpp"

namespace ck {

/// What stands in an ActivationGroup's place here: value = unit * multiple[half] * q.
struct alignas(32) Avx2Group {
  int16_t multiple[2][2];  // each twice, for the two sums of pairs that an output's 32 bits hold
  float scale[2];          // the multiples
  int32_t offset4;         // -8 * whole: what the zero point of s4 adds
  float sum;               // of multiple * q
  float unit;              // of the row
  int16_t half_sum[2];     // of q
};
static_assert(sizeof(Avx2Group) == sizeof(ActivationGroup));

void quantize_avx2(const float* x, int columns, int8_t* values, ActivationGroup* groups);

}  // namespace ck

#endif  // CK_LINEAR_AVX2_GROUP_HPP
