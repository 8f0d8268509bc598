// sample against a composition of stock MLX ops.
#include "handles.hpp"

namespace ck::test {
namespace {

ck_sampling random_sampling(Random& random) {
  ck_sampling sampling{};
  sampling.temperature = random.chance(0.2) ? 0.0f : static_cast<float>(0.2 + random.uniform());
  sampling.top_p = random.chance(0.5) ? 1.0f : static_cast<float>(0.05 + 0.9 * random.uniform());
  sampling.min_p = random.chance(0.5) ? 0.0f : static_cast<float>(0.3 * random.uniform());
  sampling.top_k = random.chance(0.5) ? 0 : random.integer(1, 60);
  sampling.uniform = static_cast<float>(0.9999 * random.uniform());
  sampling.known = sampling.logprobs = -1;
  return sampling;
}

/// The references of draws a little below and above too: sums in another order move the bounds
/// between tokens by a few units in the last place.
void sample(Round& round) {
  Random& random = round.random;
  int rows = random.integer(1, 16), vocabulary = random.one_of({1, 2, 7, 100, 1000, 5003});
  std::vector<float> logits = random.normals(size_t(rows) * vocabulary, 3);
  std::vector<ck_sampling> samplings;
  for (int row = 0; row < rows; row++) samplings.push_back(random_sampling(random));

  Array array = array_of(logits.data(), {rows, vocabulary}, CMLX_FLOAT32);
  Array drawn(sampled(array.get(), samplings.data(), rows));
  std::vector<int32_t> tokens = integers(drawn.get());
  std::vector<std::vector<int32_t>> wanted;
  for (float shift : {-2e-5f, 0.0f, 2e-5f}) {
    std::vector<ck_sampling> shifted = samplings;
    for (ck_sampling& s : shifted) s.uniform = std::fmax(0.0f, s.uniform + shift);
    Array reference(call<cmlx_array>(ck_ref_sample, stream(), array.get(), shifted.data(), rows));
    wanted.push_back(integers(reference.get()));
  }
  for (int row = 0; row < rows; row++) {
    const ck_sampling& s = samplings[row];
    bool found = false;
    for (auto& reference : wanted) found = found || tokens[row] == reference[row];
    expect(found, text("vocabulary", vocabulary, "row", row, "token", tokens[row], "reference",
                       wanted[1][row], "top_k", s.top_k) +
                      ", temperature " + std::to_string(s.temperature) + ", top_p " +
                      std::to_string(s.top_p) + ", min_p " + std::to_string(s.min_p) +
                      ", uniform " + std::to_string(s.uniform));
  }
}

const Register kTests = {{"sample", sample, 5}};

}  // namespace
}  // namespace ck::test
