// What a linear asks of an instruction set. Arguments are plain data and the files behind these
// pointers share no inline code: an inline function compiled for one instruction set must never be
// the definition that the linker keeps for all.
#ifndef CK_LINEAR_KERNELS_HPP
#define CK_LINEAR_KERNELS_HPP

#include <cstddef>
#include <cstdint>
#include <utility>

#include "../include/ckernels.h"
#include "layout.hpp"

namespace ck {

/// A group of 32 int8 activations in two halves of 16 columns: value = scale[half] * q.
struct alignas(32) ActivationGroup {
  float scale[2];
  int32_t offset4[2];  // -8 * sum of a half's q: what the zero point of s4 adds to a dot product
  int32_t offset8[2];  // -128 * sum of a half's q
  float sum;           // of the group's values
};

/// Prepared rows, one after another. A quantized section reads values and groups, a section of
/// bfloat16 reads bfloats where the kernels multiply those, any other float section floats.
struct Activations {
  int rows, columns;
  const int8_t* values;           // [rows, columns]
  const ActivationGroup* groups;  // [rows, columns / 32]
  const float* floats;            // [rows, columns]
  const uint16_t* bfloats;        // [rows, columns rounded up to pairs]
};

/// All rows of x times some panels of a section.
struct LinearTask {
  Activations x;
  PanelFormat format;
  const uint8_t* panels;
  int panel_count;
  int outputs;  // columns of `out` to write: 16 a panel, the last may have fewer
  size_t panel_bytes;
  const float* residual;  // null: none; row stride as out's
  float* out;
  size_t out_stride;  // floats
};

struct LinearKernels {
  /// By Layout.
  void (*multiply[kLayouts])(const LinearTask&);
  /// columns: a multiple of 32.
  void (*quantize)(const float* x, int columns, int8_t* values, ActivationGroup* groups);
  /// To bfloat16, and 0 after an odd number of columns; null where sections of bfloat16 read
  /// floats.
  void (*round)(const float* x, int columns, uint16_t* bfloats) = nullptr;
};

/// Null where this build has none.
const LinearKernels* linear_kernels(ck_isa isa);

}  // namespace ck

#endif  // CK_LINEAR_KERNELS_HPP
