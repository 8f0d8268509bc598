// Random weight matrices in every format that has a fast path: as a checkpoint has them, as the
// stock ops take them, and as the numbers they stand for.
#ifndef CK_TEST_WEIGHTS_HPP
#define CK_TEST_WEIGHTS_HPP

#include <memory>
#include <vector>

#include "handles.hpp"

namespace ck::test {

/// How the numbers of a matrix are stored. `bits` and the rest are CK_AFFINE's.
struct WeightFormat {
  ck_format format;
  int bits = 0, group_size = 0, scale_dtype = 0;

  /// Activations are rounded to int8 for these.
  bool is_quantized() const { return format >= CK_GGUF_Q4_0; }
  /// llama.cpp's K-quants, whose scales are rounded to float16.
  bool is_k() const { return format >= CK_GGUF_Q3_K && format <= CK_GGUF_Q6_K; }
  /// Columns come in whole multiples of this.
  int group() const;
  std::string name() const;
};

WeightFormat random_format(Random& random);

class Weights {
 public:
  /// `columns` is rounded up to whole groups. Values have mean 0 and deviation 1, roughly.
  Weights(Random& random, const WeightFormat& format, int rows, int columns);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  const WeightFormat& format() const { return format_; }
  int rows() const { return rows_; }
  int columns() const { return columns_; }
  float at(int row, int column) const { return values_[size_t(row) * columns_ + column]; }
  ck_source source() const;
  /// Lives as long as this object.
  ck_ref_matrix reference() const;

 private:
  void fill_floats(Random& random);
  void fill_blocks(Random& random);
  void fill_symmetric_k_blocks(Random& random);
  void fill_k_blocks_with_minima(Random& random);
  void fill_affine(Random& random);

  WeightFormat format_;
  int rows_, columns_;
  std::vector<float> values_;  // [rows, columns]
  std::vector<uint8_t> data_, scales_, biases_;
  Array weight_, scale_array_, bias_array_;
};

/// Matrices stacked along their rows, packed for an instruction set.
struct Stack {
  std::vector<std::unique_ptr<Weights>> parts;
  Matrix packed;

  int rows() const;
  int columns() const { return parts[0]->columns(); }
  std::vector<ck_ref_matrix> references() const;
};

/// `count` matrices of random formats and sizes of one width, at least `columns`.
Stack random_stack(Round& round, int count, int columns, int most_rows);
/// One matrix of `rows` rows.
Stack random_matrix(Round& round, int rows, int columns);
Stack random_matrix(Round& round, const WeightFormat& format, int rows, int columns);

/// How far a product with a prepared row x [columns] may lie from the exact one, of every row of
/// the stack: 7 standard deviations of what rounding x to int8 in groups of 32 or to bfloat16 does
/// (Widrow, 1956), and the rounding of a sum in float32.
std::vector<float> product_tolerance(const Stack& stack, const float* x, ck_isa isa);

/// Whether kernels round activations to bfloat16 where the weights are.
bool rounds_to_bfloat16(ck_isa isa);

/// The distance of bfloat16 numbers of the size of x.
double bfloat16_step(float x);

}  // namespace ck::test

#endif  // CK_TEST_WEIGHTS_HPP
