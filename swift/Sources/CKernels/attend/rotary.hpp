// The rotary embedding's angles of a step, which all layers with the same frequencies share.
// Su et al., 2021 (arXiv:2104.09864).
#ifndef CK_ROTARY_HPP
#define CK_ROTARY_HPP

#include <vector>

#include "../plan/node.hpp"

namespace ck {

class Rotary : public Node {
 public:
  /// inverse_frequencies: [head_dim / 2], copied.
  Rotary(const float* inverse_frequencies, int head_dim, int max_rows);

  bool has(const float* inverse_frequencies, int head_dim) const;
  /// cos [head_dim / 2], then sin [head_dim / 2], of position * inverse frequency: the angle in
  /// float64, rounded once.
  const float* row(int row) const { return table_.data() + size_t(row) * 2 * frequencies_.size(); }

  void run(Worker& worker, const Step& step) override;
  size_t scratch_bytes() const override { return table_.size() * sizeof(float); }

 private:
  std::vector<float> frequencies_;
  std::vector<float> table_;
  std::vector<int32_t> positions_;  // of the table's rows: rows of a part come more than once
};

}  // namespace ck

#endif  // CK_ROTARY_HPP
