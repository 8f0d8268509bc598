// linear: out[m, n] = sum over k of x[m, k] * W[n, k], plus residual[m, n].
//
// x, residual, out: float32 rows; W: a packed matrix. For quantized W the row is quantized to int8,
// 16 columns h a scale (symmetric, largest magnitude = 127, round to nearest even; on x86 the scale
// is rounded up to a whole multiple of the row's largest over 127 * 32767); a product is then
//   sum over groups g of 32 columns in order of
//     scale_W[n, g] * sum over the halves h of  scale_x[h] * dot_int32(q_x[h], q_W[n, h])
//   + bias_W[n, g]  * sum over the halves h of  scale_x[h] * sum_int32(q_x[h])
// in float32 with fused multiply-adds. Where W has a scale for each half, that stands inside the
// sum over the halves, and each is added by itself. For float W it is one chain of fused
// multiply-adds over k. For bfloat16 W, with AVX-512-BF16 or NEON with BF16, the row is rounded to
// bfloat16 (to nearest even), and there are two chains in float32, over even and over odd pairs of
// columns, on NEON quads; numbers below 1.2e-38 count as zero, and above 3.39e38 as infinite. So
// the bits of a row depend on x, W and the instruction set: never on the other rows of a step, the
// number of threads or the chunk. A row that holds NaN or an infinity comes out as NaN (quantized
// W); on ARM 16 columns with magnitudes below 4e-37 count as zero, on x86 a row with magnitudes
// below 1e-31.
#ifndef CK_LINEAR_HPP
#define CK_LINEAR_HPP

#include <memory>

#include "../plan/node.hpp"
#include "scratch.hpp"

namespace ck {

/// residual: may be null, and may be `out` itself. The scratch is the plan's.
std::unique_ptr<Node> make_linear(RowBuffer x, const ck_matrix& matrix, const RowBuffer* residual,
                                  RowBuffer out, int max_rows, Scratch& scratch);

}  // namespace ck

#endif  // CK_LINEAR_HPP
