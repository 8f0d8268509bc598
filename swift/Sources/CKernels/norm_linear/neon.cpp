#if defined(__aarch64__)

#include <arm_neon.h>

namespace ck {

void rms_norm_neon(const float* x, const float* weight, float epsilon, int columns, float* out) {
  const int whole = columns / 4 * 4;
  float32x4_t squares = vdupq_n_f32(0);
  for (int k = 0; k < whole; k += 4) {
    float32x4_t v = vld1q_f32(x + k);
    squares = vfmaq_f32(squares, v, v);
  }
  float sum = vaddvq_f32(squares);
  for (int k = whole; k < columns; k++) sum += x[k] * x[k];
  const float factor = 1.0f / __builtin_sqrtf(sum / static_cast<float>(columns) + epsilon);
  for (int k = 0; k < whole; k += 4) {
    vst1q_f32(out + k, vmulq_f32(vmulq_n_f32(vld1q_f32(x + k), factor), vld1q_f32(weight + k)));
  }
  for (int k = whole; k < columns; k++) out[k] = x[k] * factor * weight[k];
}

}  // namespace ck

#endif
