// A step's data: copied from the caller, checked against the plan.
#ifndef CK_STEP_HPP
#define CK_STEP_HPP

#include <vector>

#include "plan.hpp"

namespace ck {

struct StepData {
  std::vector<int32_t> tokens, positions, blocks, logit_rows;
  std::vector<ck_sequence> sequences;  // their tables are in `blocks`
  std::vector<float> inputs;
  std::vector<ck_copy> copies;
  Part part;

  /// Throws std::invalid_argument that names what is wrong. `previous`: how many tokens the step
  /// before has drawn.
  StepData(ck_plan& plan, const ck_step& step, int previous);

  int rows() const { return int(positions.size()); }
  /// The step with ids from `previous` in place. Throws std::out_of_range for one that is not in
  /// the vocabulary.
  std::vector<int32_t> resolved(const int32_t* previous, int vocabulary) const;

 private:
  void copy_sequences(const ck_step& step);
  void check_blocks(ck_plan& plan) const;
  void copy_copies(const ck_step& step, int blocks);
  void copy_tokens(const ck_step& step, int vocabulary, int previous);
  void copy_logit_rows(const ck_step& step);
  void copy_part(ck_plan& plan, const ck_step& step);
};

}  // namespace ck

#endif  // CK_STEP_HPP
