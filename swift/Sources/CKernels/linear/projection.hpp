// What linear, normLinear, gatedLinear and logits share: rows are prepared (normed, gated), then
// quantized where the matrix is, then multiplied.
#ifndef CK_PROJECTION_HPP
#define CK_PROJECTION_HPP

#include <span>
#include <vector>

#include "../plan/node.hpp"
#include "kernels.hpp"
#include "matrix.hpp"
#include "scratch.hpp"

namespace ck {

class Projection : public Node {
 public:
  void prepare(const Step& step) final;
  void run(Worker& worker, const Step& step) final;
  Ahead ahead(int thread) const final;

 protected:
  Projection(const ck_matrix& matrix, int max_rows, Scratch& scratch);

  int columns() const { return matrix_.columns; }
  ck_isa isa() const { return matrix_.isa; }

  virtual int row_count(const Step& step) const { return step.rows; }
  /// What the matrix multiplies: a row of `columns()` floats, in `buffer` or elsewhere.
  virtual const float* input(const Step& step, int row, float* buffer) const = 0;
  virtual const float* residual() const { return nullptr; }
  /// [row_count, matrix rows]
  virtual float* output(const Step& step) const = 0;

 private:
  struct Piece {
    const Section* section;
    int first_panel, panel_count;
  };
  /// Where prepared rows lie.
  struct Prepared {
    int8_t* values;
    ActivationGroup* groups;
    float* floats;
    uint16_t* bfloats;
  };

  void cut_into_pieces();
  std::span<const Piece> pieces_of(int run) const;
  void run_few(Worker& worker, const Step& step, int rows);
  void run_many(Worker& worker, const Step& step, int rows);
  size_t prepared_bytes(int rows) const;
  Prepared prepared_at(uint8_t* memory, int rows) const;
  void prepare_row(const Step& step, int row, float* buffer, const Prepared& to) const;
  void multiply(const Piece& piece, const Prepared& from, int first_row, int rows,
                float* out) const;

  const ck_matrix& matrix_;
  const LinearKernels& kernels_;
  Scratch& scratch_;
  size_t bytes_ = 0;  // of the matrix
  std::vector<Piece> pieces_;
  // In the step that was prepared: chunks of rows, and runs of pieces that are claimed as one.
  int chunks_ = 0, runs_ = 0;
  Deal deal_;       // of each run times each chunk
  Deal rows_deal_;  // of rows to prepare
  // Which forms of a row the sections read.
  bool quantized_ = false, floats_ = false, bfloats_ = false;
};

}  // namespace ck

#endif  // CK_PROJECTION_HPP
