#include "weights.hpp"

#include <algorithm>
#include <cstring>

namespace ck::test {
namespace {

constexpr int kGroup = 32;

/// Bits of a number of a type, and the number: `magnitude` times 1 to 2, of either sign.
struct Number {
  uint32_t bits;
  float value;
};

Number random_half(Random& random, int exponent) {
  uint32_t sign = random.integer(0, 1), fraction = random.integer(0, 1023);
  float magnitude = std::ldexp(1 + static_cast<float>(fraction) / 1024, exponent);
  return {sign << 15 | static_cast<uint32_t>(exponent + 15) << 10 | fraction,
          sign != 0 ? -magnitude : magnitude};
}

Number random_bfloat16(Random& random, int exponent) {
  uint32_t sign = random.integer(0, 1), fraction = random.integer(0, 127);
  float magnitude = std::ldexp(1 + static_cast<float>(fraction) / 128, exponent);
  return {sign << 15 | static_cast<uint32_t>(exponent + 127) << 7 | fraction,
          sign != 0 ? -magnitude : magnitude};
}

Number random_float(Random& random, int exponent) {
  auto value = static_cast<float>(std::ldexp(random.normal(), exponent));
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return {bits, value};
}

Number random_number(Random& random, int dtype, int exponent) {
  return dtype == CMLX_FLOAT16    ? random_half(random, exponent)
         : dtype == CMLX_BFLOAT16 ? random_bfloat16(random, exponent)
                                  : random_float(random, exponent);
}

size_t bytes_of(int dtype) { return dtype == CMLX_FLOAT32 ? 4 : 2; }

int dtype_of(ck_format format) {
  return format == CK_FLOAT16 ? CMLX_FLOAT16 : format == CK_BFLOAT16 ? CMLX_BFLOAT16 : CMLX_FLOAT32;
}

void append(std::vector<uint8_t>& to, uint32_t bits, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) to.push_back(bits >> (8 * i) & 0xff);
}

}  // namespace

std::string WeightFormat::name() const {
  static constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "Q4_0",
                                           "Q4_1",    "Q8_0",    "Q5_0",     "Q5_1",
                                           "Q3_K",    "Q4_K",    "Q5_K",     "Q6_K"};
  if (format != CK_AFFINE) return kNames[format];
  return "affine (" + text("bits", bits, "group", group_size, "scale type", scale_dtype) + ")";
}

int WeightFormat::group() const {
  return format == CK_AFFINE ? group_size : is_k() ? 256 : is_quantized() ? kGroup : 1;
}

WeightFormat random_format(Random& random) {
  if (random.chance(0.6)) return {static_cast<ck_format>(random.integer(CK_FLOAT32, CK_GGUF_Q6_K))};
  return {CK_AFFINE, random.one_of({2, 3, 4, 5, 6, 8}), random.one_of({32, 64, 128}),
          random.one_of<int>({CMLX_FLOAT16, CMLX_BFLOAT16, CMLX_FLOAT32})};
}

Weights::Weights(Random& random, const WeightFormat& format, int rows, int columns)
    : format_(format), rows_(rows) {
  int group = format.group();
  columns_ = (columns + group - 1) / group * group;
  values_.reserve(size_t(rows) * columns_);
  if (format.format == CK_AFFINE) {
    fill_affine(random);
  } else if (format.format == CK_GGUF_Q3_K || format.format == CK_GGUF_Q6_K) {
    fill_symmetric_k_blocks(random);
  } else if (format.is_k()) {
    fill_k_blocks_with_minima(random);
  } else if (format.is_quantized()) {
    fill_blocks(random);
  } else {
    fill_floats(random);
  }
  if (format.format != CK_AFFINE) {
    weight_ = array_of(values_.data(), {rows_, columns_}, CMLX_FLOAT32);
    return;
  }
  int groups = columns_ / format.group_size;
  weight_ = array_of(data_.data(), {rows_, columns_ * format.bits / 32}, CMLX_UINT32);
  // Exactly the same numbers, since a reference computes in the type of its scales.
  auto wide = [&](const std::vector<uint8_t>& numbers) {
    Array array = array_of(numbers.data(), {rows_, groups}, format.scale_dtype);
    return Array(call<cmlx_array>(cmlx_astype, stream(), array.get(), int{CMLX_FLOAT32}));
  };
  scale_array_ = wide(scales_);
  bias_array_ = wide(biases_);
}

void Weights::fill_floats(Random& random) {
  // A float32 matrix may hold what 16 bits hold exactly, and is then stored in 16.
  int dtype = dtype_of(format_.format);
  int precision = dtype != CMLX_FLOAT32
                      ? dtype
                      : random.one_of<int>({CMLX_FLOAT32, CMLX_FLOAT16, CMLX_BFLOAT16});
  for (size_t i = 0; i < size_t(rows_) * columns_; i++) {
    Number number = random_number(random, precision, random.integer(-3, 0));
    values_.push_back(number.value);
    if (dtype == CMLX_FLOAT32) std::memcpy(&number.bits, &number.value, sizeof number.bits);
    append(data_, number.bits, bytes_of(dtype));
  }
}

void Weights::fill_blocks(Random& random) {
  const ck_format format = format_.format;
  const bool bytes = format == CK_GGUF_Q8_0,
             five = format == CK_GGUF_Q5_0 || format == CK_GGUF_Q5_1;
  const bool has_minimum = format == CK_GGUF_Q4_1 || format == CK_GGUF_Q5_1;
  const int zero = has_minimum || bytes ? 0 : five ? 16 : 8;
  for (int i = 0; i < rows_ * (columns_ / kGroup); i++) {
    Number d = random_half(random, bytes ? -6 : five ? -3 : -2), m = random_half(random, 1);
    append(data_, d.bits, 2);
    if (has_minimum) append(data_, m.bits, 2);
    int q[kGroup];
    for (int& value : q)
      value = bytes ? random.integer(-128, 127) : random.integer(0, five ? 31 : 15);
    if (bytes) {
      for (int value : q) append(data_, static_cast<uint32_t>(value), 1);
    } else {
      uint32_t fifth = 0;
      for (int k = 0; k < kGroup; k++) fifth |= static_cast<uint32_t>(q[k] >> 4) << k;
      if (five) append(data_, fifth, 4);
      for (int k = 0; k < kGroup / 2; k++)
        append(data_, (q[k] & 15) | (q[k + kGroup / 2] & 15) << 4, 1);
    }
    for (int value : q) values_.push_back(d.value * (value - zero) + (has_minimum ? m.value : 0));
  }
}

/// Bits of numbers as ggml packs them: `run` numbers one after another lie in bytes one after
/// another, and the next runs in the higher bits of those bytes.
static void append_plane(std::vector<uint8_t>& to, const std::vector<int>& numbers, int low,
                         int bits, int run) {
  const int a_byte = 8 / bits;
  std::vector<uint8_t> plane(numbers.size() * bits / 8);
  for (int i = 0; i < static_cast<int>(numbers.size()); i++) {
    const int field = numbers[i] >> low & ((1 << bits) - 1);
    plane[i / (run * a_byte) * run + i % run] |= field << bits * (i / run % a_byte);
  }
  to.insert(to.end(), plane.begin(), plane.end());
}

static std::vector<int> random_numbers(Random& random, int count, int most) {
  std::vector<int> numbers(count);
  for (int& number : numbers) number = random.integer(0, most);
  return numbers;
}

/// Q3_K and Q6_K: groups of 16 with scales.
void Weights::fill_symmetric_k_blocks(Random& random) {
  const bool six = format_.format == CK_GGUF_Q6_K;
  for (int i = 0; i < rows_ * columns_ / 256; i++) {
    const Number d = random_half(random, six ? -10 : -5);
    const std::vector<int> q = random_numbers(random, 256, six ? 63 : 7);
    const std::vector<int> scales = random_numbers(random, 16, six ? 255 : 63);
    append_plane(data_, q, six ? 0 : 2, six ? 4 : 1, six ? 64 : 32);
    append_plane(data_, q, six ? 4 : 0, 2, 32);
    if (six) {
      for (int scale : scales) append(data_, scale ^ 128, 1);
    } else {
      append_plane(data_, scales, 0, 4, 8);
      append_plane(data_, scales, 4, 2, 4);
    }
    append(data_, d.bits, 2);
    for (int k = 0; k < 256; k++) {
      const int scale = scales[k / 16] - (six ? 128 : 32);
      values_.push_back(d.value * scale * (q[k] - (six ? 32 : 4)));
    }
  }
}

/// Q4_K and Q5_K: groups of 32 with scales and minima, whose bits lie in 12 bytes.
void Weights::fill_k_blocks_with_minima(Random& random) {
  const bool five = format_.format == CK_GGUF_Q5_K;
  for (int i = 0; i < rows_ * columns_ / 256; i++) {
    const Number d = random_half(random, five ? -9 : -8), dmin = random_half(random, -5);
    const std::vector<int> q = random_numbers(random, 256, five ? 31 : 15);
    const std::vector<int> scales = random_numbers(random, 8, 63),
                           minima = random_numbers(random, 8, 63);
    append(data_, d.bits, 2);
    append(data_, dmin.bits, 2);
    for (int g = 0; g < 4; g++) append(data_, scales[g] | scales[g + 4] >> 4 << 6, 1);
    for (int g = 0; g < 4; g++) append(data_, minima[g] | minima[g + 4] >> 4 << 6, 1);
    for (int g = 4; g < 8; g++) append(data_, (scales[g] & 15) | (minima[g] & 15) << 4, 1);
    if (five) append_plane(data_, q, 4, 1, 32);
    append_plane(data_, q, 0, 4, 32);
    for (int k = 0; k < 256; k++) {
      values_.push_back(d.value * scales[k / 32] * q[k] - dmin.value * minima[k / 32]);
    }
  }
}

void Weights::fill_affine(Random& random) {
  uint64_t stream = 0;
  int filled = 0;
  for (int i = 0; i < rows_ * (columns_ / format_.group_size); i++) {
    Number scale = random_number(random, format_.scale_dtype, 1 - format_.bits);
    Number bias = random_number(random, format_.scale_dtype, 0);
    append(scales_, scale.bits, bytes_of(format_.scale_dtype));
    append(biases_, bias.bits, bytes_of(format_.scale_dtype));
    for (int k = 0; k < format_.group_size; k++) {
      auto q = static_cast<uint64_t>(random.integer(0, (1 << format_.bits) - 1));
      values_.push_back(scale.value * q + bias.value);
      stream |= q << filled;
      for (filled += format_.bits; filled >= 8; filled -= 8, stream >>= 8) {
        append(data_, stream & 0xff, 1);
      }
    }
  }
}

ck_source Weights::source() const {
  ck_source source{};
  source.format = format_.format;
  source.rows = rows_;
  source.columns = columns_;
  source.bits = format_.bits;
  source.group_size = format_.group_size;
  source.scale_dtype = format_.scale_dtype;
  source.data = data_.data();
  source.scales = scales_.data();
  source.biases = biases_.data();
  return source;
}

ck_ref_matrix Weights::reference() const {
  return {weight_.get(), scale_array_.get(), bias_array_.get(), format_.bits, format_.group_size};
}

int Stack::rows() const {
  int rows = 0;
  for (auto& part : parts) rows += part->rows();
  return rows;
}

std::vector<ck_ref_matrix> Stack::references() const {
  std::vector<ck_ref_matrix> references;
  for (auto& part : parts) references.push_back(part->reference());
  return references;
}

namespace {

Matrix packed(const Stack& stack, ck_isa isa) {
  std::vector<ck_source> sources;
  for (auto& part : stack.parts) {
    sources.push_back(part->source());
    expect(ck_matrix_supported(&sources.back(), isa), part->format().name() + " is not supported");
  }
  return Matrix(
      call<ck_matrix*>(ck_matrix_pack, sources.data(), static_cast<int>(sources.size()), isa));
}

}  // namespace

Stack random_stack(Round& round, int count, int columns, int most_rows) {
  Stack stack;
  std::vector<WeightFormat> formats;
  int group = 1;
  for (int i = 0; i < count; i++) {
    formats.push_back(random_format(round.random));
    group = std::max(group, formats[i].group());
  }
  columns = (columns + group - 1) / group * group;
  for (const WeightFormat& format : formats) {
    int rows = round.random.integer(1, most_rows);
    stack.parts.push_back(std::make_unique<Weights>(round.random, format, rows, columns));
  }
  stack.packed = packed(stack, round.isa);
  return stack;
}

Stack random_matrix(Round& round, int rows, int columns) {
  return random_matrix(round, random_format(round.random), rows, columns);
}

Stack random_matrix(Round& round, const WeightFormat& format, int rows, int columns) {
  Stack stack;
  stack.parts.push_back(std::make_unique<Weights>(round.random, format, rows, columns));
  stack.packed = packed(stack, round.isa);
  return stack;
}

bool rounds_to_bfloat16(ck_isa isa) { return isa == CK_ISA_AVX512_BF16 || isa == CK_ISA_NEON_BF16; }

double bfloat16_step(float x) { return x == 0 ? 0 : std::ldexp(1.0, std::ilogb(x) - 7); }

std::vector<float> product_tolerance(const Stack& stack, const float* x, ck_isa isa) {
  std::vector<float> tolerances;
  int columns = stack.columns();
  std::vector<double> steps(columns);  // between two int8 values
  for (int k = 0; k < columns; k++) {
    double largest = 0;
    int first = k / kGroup * kGroup;
    for (int i = first; i < std::min(first + kGroup, columns); i++) {
      largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
    }
    steps[k] = largest / 127;
  }
  for (auto& part : stack.parts) {
    // Not of a float32 matrix that happens to fit bfloat16.
    const bool bfloat16 = rounds_to_bfloat16(isa) && part->format().format == CK_BFLOAT16;
    const bool rounds = bfloat16 || part->format().is_quantized();
    for (int row = 0; row < part->rows(); row++) {
      double variance = 0, magnitude = 0;
      for (int k = 0; k < columns; k++) {
        double w = part->at(row, k);
        double step = bfloat16 ? bfloat16_step(x[k]) : steps[k];
        variance += w * w * step * step / 12;
        magnitude += std::fabs(w * x[k]);
      }
      if (!rounds) variance = 0;
      tolerances.push_back(static_cast<float>(7 * std::sqrt(variance) + 4e-6 * magnitude + 1e-30));
    }
  }
  return tolerances;
}

}  // namespace ck::test
