// What the files of linear for ARM share. Included inside their target attributes, after
// kernels.hpp, which has to stay outside; all that has code here has internal linkage.
#ifndef CK_LINEAR_NEON_HPP
#define CK_LINEAR_NEON_HPP

namespace ck {
namespace {

constexpr int kLanes = 4;
constexpr int kRowBlock = 4;
constexpr int kPrefetchBytes = 1024;  // how far ahead of a panel's own reads

void store(float32x4_t sum, const LinearTask& t, int row, int column) {
  const int left = t.outputs - column;
  const size_t offset = row * t.out_stride + column;
  if (left >= kLanes) {
    if (t.residual != nullptr) sum = vaddq_f32(sum, vld1q_f32(t.residual + offset));
    vst1q_f32(t.out + offset, sum);
    return;
  }
  float lanes[kLanes];
  vst1q_f32(lanes, sum);
  for (int n = 0; n < left; n++) {
    t.out[offset + n] = t.residual == nullptr ? lanes[n] : lanes[n] + t.residual[offset + n];
  }
}

/// `Block::multiply<rows, registers>` of all panels: `rows` rows of x, from `row` on, times the
/// 4 * registers outputs of a panel from `output` on.
template <class Block, int rows>
void multiply_panels(const LinearTask& t, int row) {
  constexpr int kRegisters = rows > 2 ? 2 : 4;  // so that sums and dot products fit 32 registers
  for (int panel = 0; panel < t.panel_count; panel++) {
    for (int output = 0; output < kPanelRows; output += kLanes * kRegisters) {
      Block::template multiply<rows, kRegisters>(t, panel, output, row);
    }
  }
}

/// Rows in blocks, so that a block's activations stay in the first cache over all panels.
template <class Block>
void multiply_rows(const LinearTask& t) {
  int row = 0;
  for (; row + kRowBlock <= t.x.rows; row += kRowBlock) multiply_panels<Block, kRowBlock>(t, row);
  for (; row + 2 <= t.x.rows; row += 2) multiply_panels<Block, 2>(t, row);
  for (; row < t.x.rows; row++) multiply_panels<Block, 1>(t, row);
}

}  // namespace
}  // namespace ck

#endif  // CK_LINEAR_NEON_HPP
