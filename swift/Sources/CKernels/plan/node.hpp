// What an op leaves in a plan, and what a step hands to it.
#ifndef CK_NODE_HPP
#define CK_NODE_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../include/ckernels.h"
#include "../pool/pool.hpp"

namespace ck {

/// The last rows of a step, where they pass through some of the plan's layers alone.
struct Part {
  int rows = 0;
  int first_layer = 0, end_layer = 0;
};

/// A step as nodes see it: checked, with token ids resolved. Valid for the length of the step.
struct Step {
  int rows;
  const int32_t* tokens;  // [rows]
  const ck_sequence* sequences;
  int sequence_count;
  const int32_t* positions;  // [rows]
  const int32_t* logit_rows;
  int logit_count;
  const float* inputs;
  float* output;  // what the step returns
  int threads;    // that share its work from the start
  Part part;
};

/// A row buffer: float32 [max_rows, columns], row major, 64-byte aligned, row stride `columns`.
struct RowBuffer {
  float* data;
  int columns;
};

/// One op of a plan. `run` is called on every thread of the region.
class Node {
 public:
  virtual ~Node() = default;
  /// Called on the calling thread, before each region that the node is in; may allocate.
  virtual void prepare(const Step& step) { (void)step; }
  virtual void run(Worker& worker, const Step& step) = 0;
  /// What `thread` will read first in the step that was prepared.
  virtual Ahead ahead(int thread) const {
    (void)thread;
    return {};
  }
  /// Bytes of scratch memory that the node holds for itself.
  virtual size_t scratch_bytes() const { return 0; }
  /// Gives that memory back to the system until the next step.
  virtual void rest() {}
};

}  // namespace ck

#endif  // CK_NODE_HPP
