// exp as the sampler needs it: the same bits wherever it runs, and vectorized by compilers.
#ifndef CK_EXPONENTIAL_HPP
#define CK_EXPONENTIAL_HPP

#include <algorithm>
#include <bit>
#include <cstdint>

namespace ck {

/// exp(x) for x <= 0, 0 below -87; relative error below 2e-7.
inline float exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float t = std::max(x, -87.0f);
  float n = (t * 1.44269504f + kRound) - kRound;
  float f = (t - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * f * f + f + 1.0f;
  float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return x < -87.0f ? 0.0f : p * power;
}

}  // namespace ck

#endif  // CK_EXPONENTIAL_HPP
