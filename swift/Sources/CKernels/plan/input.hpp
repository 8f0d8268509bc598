// input: rows that the step brings along.
#ifndef CK_INPUT_HPP
#define CK_INPUT_HPP

#include <cstring>

#include "node.hpp"

namespace ck {

class Input : public Node {
 public:
  explicit Input(RowBuffer out) : out_(out) {}
  void run(Worker& worker, const Step& step) override {
    worker.for_each(step.rows, [&](int row) {
      size_t at = size_t(row) * out_.columns;
      std::memcpy(out_.data + at, step.inputs + at, out_.columns * sizeof(float));
    });
  }

 private:
  RowBuffer out_;
};

}  // namespace ck

#endif  // CK_INPUT_HPP
