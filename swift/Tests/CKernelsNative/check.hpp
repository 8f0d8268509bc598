// What the op tests are made of: named cases, reproducible randomness, failures that say where.
#ifndef CK_TEST_CHECK_HPP
#define CK_TEST_CHECK_HPP

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../Sources/CKernels/include/ckernels.h"

namespace ck::test {

/// The same numbers on every platform, which the standard's distributions do not promise.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  /// least ... most
  int integer(int least, int most) {
    return least + static_cast<int>(engine_() % (static_cast<uint64_t>(most - least) + 1));
  }
  bool chance(double probability) { return uniform() < probability; }
  /// [0, 1)
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  /// Mean 0, variance 1 (Box and Muller, 1958).
  double normal() {
    return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(6.283185307179586 * uniform());
  }
  std::vector<float> normals(size_t count, double deviation = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(deviation * normal());
    return values;
  }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[integer(0, static_cast<int>(values.size()) - 1)];
  }

 private:
  std::mt19937_64 engine_;
};

/// One random case of a test.
struct Round {
  ck_isa isa;
  Random& random;
};

struct Test {
  const char* name;
  void (*run)(Round& round);
  int cases = 1;  // of a round: cheap ones get more
};

/// Thrown by a test that fails; says with what numbers.
struct Failure : std::runtime_error {
  using runtime_error::runtime_error;
};

/// A file's tests, each with a name; found by main.
std::vector<Test>& all_tests();

struct Register {
  Register(std::initializer_list<Test> tests) {
    all_tests().insert(all_tests().end(), tests.begin(), tests.end());
  }
};

/// "rows 3, columns 64": of alternating names and numbers.
inline std::string text(const char* name, long long value) {
  return std::string(name) + " " + std::to_string(value);
}
template <class... Rest>
std::string text(const char* name, long long value, Rest... rest) {
  return text(name, value) + ", " + text(rest...);
}

void expect(bool condition, const std::string& what);

/// Bit by bit, so that NaN equals itself and -0 is not 0.
void expect_same_bits(const std::vector<float>& got, const std::vector<float>& wanted,
                      const std::string& what);

/// |got - wanted| <= tolerance, element by element; NaN is a failure.
void expect_close(const std::vector<float>& got, const std::vector<float>& wanted,
                  const std::vector<float>& tolerance, const std::string& what);

}  // namespace ck::test

#endif  // CK_TEST_CHECK_HPP
