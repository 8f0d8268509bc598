#include "check.hpp"

#include <cstring>

namespace ck::test {

std::vector<Test>& all_tests() {
  static auto& tests = *new std::vector<Test>;
  return tests;
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw Failure(what);
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& wanted,
                      const std::string& what) {
  expect(got.size() == wanted.size(), what + ": the sizes differ");
  for (size_t i = 0; i < got.size(); i++) {
    if (std::memcmp(&got[i], &wanted[i], sizeof(float)) == 0) continue;
    throw Failure(what + ": element " + std::to_string(i) + " is " + std::to_string(got[i]) +
                  ", and was " + std::to_string(wanted[i]));
  }
}

void expect_close(const std::vector<float>& got, const std::vector<float>& wanted,
                  const std::vector<float>& tolerance, const std::string& what) {
  expect(got.size() == wanted.size() && got.size() == tolerance.size(),
         what + ": the sizes differ");
  for (size_t i = 0; i < got.size(); i++) {
    if (std::fabs(got[i] - wanted[i]) <= tolerance[i]) continue;
    throw Failure(what + ": element " + std::to_string(i) + " is " + std::to_string(got[i]) +
                  ", the reference has " + std::to_string(wanted[i]) + ", and may differ by " +
                  std::to_string(tolerance[i]));
  }
}

}  // namespace ck::test
