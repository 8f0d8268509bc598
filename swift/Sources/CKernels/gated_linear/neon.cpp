#if defined(__aarch64__)

#include <arm_neon.h>

namespace ck {
namespace {

/// 2^n for n in -127 ... 128, from its exponent bits: 0 and infinity at the ends.
float32x4_t power_of_two(int32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

/// e^x to 2 units in the last place: 2^n times a polynomial in the fraction (Cephes, expf). NaN
/// stays NaN; x beyond +-104 gives infinity or 0.
float32x4_t exponential(float32x4_t x) {
  x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(104.0f)), vdupq_n_f32(-104.0f));
  float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 1.44269504088896341f));
  float32x4_t f = vfmsq_n_f32(x, n, 0.693359375f);
  f = vfmsq_n_f32(f, n, -2.12194440e-4f);
  float32x4_t p = vdupq_n_f32(1.9875691500e-4f);
  p = vfmaq_f32(vdupq_n_f32(1.3981999507e-3f), p, f);
  p = vfmaq_f32(vdupq_n_f32(8.3334519073e-3f), p, f);
  p = vfmaq_f32(vdupq_n_f32(4.1665795894e-2f), p, f);
  p = vfmaq_f32(vdupq_n_f32(1.6666665459e-1f), p, f);
  p = vfmaq_f32(vdupq_n_f32(5.0000001201e-1f), p, f);
  p = vfmaq_f32(vaddq_f32(f, vdupq_n_f32(1.0f)), vmulq_f32(f, f), p);
  // In two steps, since n goes beyond the exponents of float32.
  int32x4_t whole = vcvtq_s32_f32(n);
  int32x4_t half = vshrq_n_s32(whole, 1);
  return vmulq_f32(vmulq_f32(p, power_of_two(half)), power_of_two(vsubq_s32(whole, half)));
}

float32x4_t silu(float32x4_t gate) {
  return vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1.0f), exponential(vnegq_f32(gate))));
}

}  // namespace

void silu_gate_neon(const float* gate, const float* up, int columns, float* out) {
  const int whole = columns / 4 * 4;
  for (int k = 0; k < whole; k += 4) {
    vst1q_f32(out + k, vmulq_f32(silu(vld1q_f32(gate + k)), vld1q_f32(up + k)));
  }
  for (int k = whole; k < columns; k++) {
    out[k] = vgetq_lane_f32(silu(vdupq_n_f32(gate[k])), 0) * up[k];
  }
}

}  // namespace ck

#endif
