// Samplers and logprobs against their definitions, computed one token at a time.
#include <algorithm>
#include <cstring>
#include <limits>

#include "handles.hpp"

namespace ck::test {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

using Samplers = Handle<ck_sampler, ck_sampler_free>;

/// A sequence's parameters, and what vLLM's documentation makes of its logits.
struct Parameters {
  int vocabulary;
  std::vector<int32_t> prompt, ends, allowed, biased;
  std::vector<float> biases;
  std::vector<std::vector<int32_t>> bad_words;
  float repetition = 1, frequency = 0, presence = 0;
  int min_tokens = 0;

  Samplers sampler() const {
    std::vector<int32_t> words, lengths;
    for (const std::vector<int32_t>& word : bad_words) {
      words.insert(words.end(), word.begin(), word.end());
      lengths.push_back(int(word.size()));
    }
    ck_sampler_params p{};
    p.vocabulary = vocabulary;
    p.prompt_count = int(prompt.size());
    p.prompt = prompt.data();
    p.repetition_penalty = repetition;
    p.frequency_penalty = frequency;
    p.presence_penalty = presence;
    p.min_tokens = min_tokens;
    p.end_count = int(ends.size());
    p.end_ids = ends.data();
    p.allowed_count = int(allowed.size());
    p.allowed_ids = allowed.data();
    p.bias_count = int(biased.size());
    p.bias_ids = biased.data();
    p.bias_values = biases.data();
    p.bad_word_count = int(lengths.size());
    p.bad_words = words.data();
    p.bad_word_lengths = lengths.data();
    return Samplers(call<ck_sampler*>(ck_sampler_create, &p));
  }

  std::vector<float> adjusted(const float* logits, const std::vector<int32_t>& output) const {
    std::vector<float> x(logits, logits + vocabulary);
    for (int32_t token = 0; token < vocabulary; token++) {
      if (!allowed.empty() && !has(allowed, token)) x[token] = kMasked;
    }
    for (const std::vector<int32_t>& word : bad_words) {
      size_t before = word.size() - 1;
      bool follows = output.size() >= before &&
                     std::equal(word.begin(), word.end() - 1, output.end() - ptrdiff_t(before));
      if (follows) x[word.back()] = kMasked;
    }
    for (int32_t token : ends) {
      if (output.size() < size_t(min_tokens)) x[token] = kMasked;
    }
    for (size_t i = 0; i < biased.size(); i++) x[biased[i]] += biases[i];
    for (int32_t token = 0; token < vocabulary; token++) {
      auto times = std::count(output.begin(), output.end(), token);
      if (times == 0 && !has(prompt, token)) continue;
      x[token] = x[token] > 0 ? x[token] / repetition : x[token] * repetition;
      x[token] -= frequency * float(times);
      if (times > 0) x[token] -= presence;
    }
    return x;
  }

  static bool has(const std::vector<int32_t>& tokens, int32_t token) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  }
};

std::vector<int32_t> random_tokens(Random& random, int vocabulary, int count) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = random.integer(0, vocabulary - 1);
  return tokens;
}

Parameters random_parameters(Random& random, int vocabulary) {
  Parameters p{};
  p.vocabulary = vocabulary;
  p.prompt = random_tokens(random, vocabulary, random.integer(1, 30));
  if (random.chance(0.5)) p.repetition = static_cast<float>(0.5 + 1.5 * random.uniform());
  if (random.chance(0.5)) p.frequency = static_cast<float>(4 * random.uniform() - 2);
  if (random.chance(0.5)) p.presence = static_cast<float>(4 * random.uniform() - 2);
  if (random.chance(0.5)) {
    p.min_tokens = random.integer(1, 8);
    p.ends = random_tokens(random, vocabulary, 2);
  }
  if (random.chance(0.5)) {
    p.biased = {random.integer(0, vocabulary - 1)};
    p.biases = {static_cast<float>(4 * random.uniform() - 2)};
  }
  if (random.chance(0.3)) p.allowed = random_tokens(random, vocabulary, random.integer(1, 12));
  if (random.chance(0.5)) {
    for (int i = 0; i < 2 * vocabulary; i++) {
      p.bad_words.push_back(random_tokens(random, vocabulary, random.integer(1, 3)));
    }
  }
  return p;
}

ck_sampling greedy_row(int index, ck_sampler* sampler) {
  ck_sampling row{};
  row.top_p = 1;
  row.known = row.logprobs = -1;
  row.index = index;
  row.sampler = sampler;
  return row;
}

int32_t most_likely(const std::vector<float>& logits) {
  auto largest = std::max_element(logits.begin(), logits.end());
  return *largest == kMasked ? CK_LOGITS_MASKED : int32_t(largest - logits.begin());
}

/// Several sequences side by side; steps are issued before those before are read, and once a
/// sequence goes back to an earlier token, as after a preemption.
void samplers(Round& round) {
  Random& random = round.random;
  int vocabulary = random.one_of({2, 5, 40, 300}), sequences = random.integer(1, 5), steps = 12;
  std::vector<Parameters> parameters;
  std::vector<Samplers> states;
  for (int s = 0; s < sequences; s++) {
    parameters.push_back(random_parameters(random, vocabulary));
    states.push_back(parameters.back().sampler());
  }
  std::vector<std::vector<float>> logits;
  std::vector<Array> drawn;
  auto issue = [&](int step) {
    std::vector<ck_sampling> rows;
    for (Samplers& state : states) rows.push_back(greedy_row(step, state.get()));
    Array array = array_of(logits[step].data(), {sequences, vocabulary}, CMLX_FLOAT32);
    return Array(sampled(array.get(), rows.data(), sequences));
  };
  for (int step = 0; step < steps; step++) {
    logits.push_back(random.normals(size_t(sequences) * vocabulary, 3));
    drawn.push_back(issue(step));
  }
  std::vector<std::vector<int32_t>> outputs(sequences);
  for (int step = 0; step < steps; step++) {
    std::vector<int32_t> tokens = integers(drawn[step].get());
    for (int s = 0; s < sequences; s++) {
      const float* row = logits[step].data() + size_t(s) * vocabulary;
      int32_t wanted = most_likely(parameters[s].adjusted(row, outputs[s]));
      expect(tokens[s] == wanted, text("vocabulary", vocabulary, "sequence", s, "step", step,
                                       "token", tokens[s], "wanted", wanted));
      outputs[s].push_back(std::max(wanted, 0));
    }
  }
  int back = random.integer(0, steps - 1);
  expect(integers(issue(back).get()) == integers(drawn[back].get()), text("again from", back));
}

struct Scored {
  std::vector<int32_t> tokens;
  std::vector<ck_logprob> entries;
};

Scored scored(cmlx_array logits, const std::vector<ck_sampling>& rows) {
  cmlx_array tokens = nullptr, logprobs = nullptr;
  cmlx_error error{};
  int failed =
      ck_sample(stream(), logits, rows.data(), int(rows.size()), &tokens, &logprobs, &error);
  expect(failed == 0, error.message);
  Array owned_tokens(tokens), owned_logprobs(logprobs);
  std::vector<int32_t> words = integers(logprobs);
  std::vector<ck_logprob> entries(words.size() / 3);
  std::memcpy(entries.data(), words.data(), words.size() * sizeof(int32_t));
  return {integers(tokens), entries};
}

/// Against float64, with rows whose logits are no numbers in between.
void logprobs(Round& round) {
  Random& random = round.random;
  int count = random.integer(1, 8), vocabulary = random.one_of({1, 3, 17, 1000, 5003});
  std::vector<float> logits = random.normals(size_t(count) * vocabulary, 4);
  std::vector<ck_sampling> rows;
  std::vector<bool> bad;
  for (int i = 0; i < count; i++) {
    ck_sampling row = greedy_row(0, nullptr);
    if (random.chance(0.5)) row.known = random.integer(0, vocabulary - 1);
    row.logprobs = random.integer(0, std::min(vocabulary, 5));
    rows.push_back(row);
    bad.push_back(random.chance(0.2));
    float value = random.one_of({std::nanf(""), -kMasked});
    if (bad[i]) logits[size_t(i) * vocabulary + random.integer(0, vocabulary - 1)] = value;
  }
  Array array = array_of(logits.data(), {count, vocabulary}, CMLX_FLOAT32);
  Scored result = scored(array.get(), rows);
  const ck_logprob* entry = result.entries.data();
  for (int i = 0; i < count; i++, entry++) {
    std::string where = text("vocabulary", vocabulary, "row", i, "of", count);
    expect((result.tokens[i] < 0) == bad[i], where + ": no numbers");
    if (bad[i]) {
      entry += rows[i].logprobs;
      continue;
    }
    std::vector<float> row(logits.begin() + ptrdiff_t(i) * vocabulary,
                           logits.begin() + ptrdiff_t(i + 1) * vocabulary);
    double total = 0;
    for (float logit : row) total += std::exp(double(logit));
    auto check = [&](int32_t token, int rank) {
      expect(entry->token == token && entry->rank == rank, where + text(", token", token));
      double wanted = double(row[token]) - std::log(total);
      expect(std::fabs(entry->logprob - wanted) < 1e-4, where + text(", logprob of", token));
    };
    int32_t own = rows[i].known >= 0 ? rows[i].known : most_likely(row);
    expect(result.tokens[i] == own, where + ": the token");
    check(own, int(std::count_if(row.begin(), row.end(), [&](float x) { return x >= row[own]; })));
    std::vector<int32_t> order(vocabulary);
    for (int t = 0; t < vocabulary; t++) order[t] = t;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    for (int rank = 1; rank <= rows[i].logprobs; rank++) {
      entry++;
      check(order[rank - 1], rank);
    }
  }
}

/// Parameters that cannot be are refused, and nothing is read past its end.
void refusals(Round&) {
  int32_t outside = 7;
  float infinite = std::numeric_limits<float>::infinity();
  ck_sampler_params good{};
  good.vocabulary = 7;
  good.repetition_penalty = 1;
  auto refused = [&](auto change) {
    ck_sampler_params bad = good;
    change(bad);
    refusal<ck_sampler*>(ck_sampler_create, &bad);
  };
  refused([&](auto& p) { p.prompt_count = 1, p.prompt = &outside; });
  refused([&](auto& p) { p.end_count = 1, p.end_ids = &outside; });
  refused([&](auto& p) { p.allowed_count = -1; });
  refused([&](auto& p) { p.bias_count = 1; });
  refused([&](auto& p) { p.repetition_penalty = 0; });
  refused([&](auto& p) { p.frequency_penalty = infinite; });
  refused([&](auto& p) { p.min_tokens = -1; });
  Samplers one(call<ck_sampler*>(ck_sampler_create, &good));
  std::vector<float> logits(14);
  Array array = array_of(logits.data(), {2, 7}, CMLX_FLOAT32);
  std::vector<ck_sampling> twice = {greedy_row(0, one.get()), greedy_row(0, one.get())};
  cmlx_array tokens = nullptr, none = nullptr;
  cmlx_error error{};
  expect(ck_sample(stream(), array.get(), twice.data(), 2, &tokens, &none, &error) != 0,
         "one sampler draws for two rows");
}

const Register kTests = {
    {"samplers", samplers, 5}, {"logprobs", logprobs, 5}, {"sampler_refusals", refusals}};

}  // namespace
}  // namespace ck::test
