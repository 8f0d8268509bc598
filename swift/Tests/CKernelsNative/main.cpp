// Runs the op tests on every instruction set of this machine.
//
//   op-tests [--rounds N] [--seed N] [--round N] [--isa NAME] [TEST ...]
//
// A round is one random case of a test, or a few of a cheap one; a failure names its own.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "check.hpp"

namespace {

using ck::test::Test;

struct Isa {
  ck_isa id;
  const char* name;
};
constexpr Isa kIsas[] = {{CK_ISA_AVX2, "avx2"},
                         {CK_ISA_AVX512_VNNI, "avx512_vnni"},
                         {CK_ISA_AVX512_BF16, "avx512_bf16"},
                         {CK_ISA_NEON, "neon"},
                         {CK_ISA_NEON_BF16, "neon_bf16"}};

struct Options {
  int rounds = 20, only_round = -1;
  uint64_t seed = 1;
  std::string_view isa;
  std::vector<std::string_view> tests;

  bool wants(const Test& test) const {
    for (std::string_view name : tests) {
      if (name == test.name) return true;
    }
    return tests.empty();
  }
};

[[noreturn]] void usage(const char* problem, std::string_view what) {
  std::fprintf(stderr, "error: %s %.*s\n", problem, static_cast<int>(what.size()), what.data());
  std::exit(2);
}

bool is_known(std::string_view test) {
  for (const Test& known : ck::test::all_tests()) {
    if (test == known.name) return true;
  }
  return false;
}

Options parsed(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i++) {
    std::string_view name = arguments[i];
    if (!name.starts_with("--")) {
      if (!is_known(name)) usage("there is no test", name);
      options.tests.push_back(name);
      continue;
    }
    if (++i == count) usage("a value is missing after", name);
    if (name == "--rounds") {
      options.rounds = std::atoi(arguments[i]);
    } else if (name == "--round") {
      options.only_round = std::atoi(arguments[i]);
    } else if (name == "--seed") {
      options.seed = std::strtoull(arguments[i], nullptr, 10);
    } else if (name == "--isa") {
      options.isa = arguments[i];
    } else {
      usage("there is no option", name);
    }
  }
  return options;
}

/// Whether all rounds of a test pass.
bool passes(const Test& test, const Isa& isa, const Options& options) {
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < options.rounds; i++) {
    if (options.only_round >= 0 && i != options.only_round) continue;
    ck::test::Random random(options.seed * 1'000'003 + i);
    ck::test::Round round{isa.id, random};
    try {
      for (int c = 0; c < test.cases; c++) test.run(round);
    } catch (const std::exception& e) {
      std::printf("FAIL %-12s %s: %s\n     again: --seed %llu --rounds %d --round %d --isa %s %s\n",
                  isa.name, test.name, e.what(), static_cast<unsigned long long>(options.seed),
                  options.rounds, i, isa.name, test.name);
      return false;
    }
  }
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("ok   %-12s %-32s %6.1f s\n", isa.name, test.name, seconds.count());
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Options options = parsed(count, arguments);
  int ran = 0, failed = 0;
  for (const Isa& isa : kIsas) {
    if (!options.isa.empty() && options.isa != isa.name) continue;
    if (!ck_isa_supported(isa.id)) {
      if (!options.isa.empty()) usage("this machine has no", options.isa);
      continue;
    }
    for (const Test& test : ck::test::all_tests()) {
      if (!options.wants(test)) continue;
      ran++;
      failed += !passes(test, isa, options);
    }
  }
  if (ran == 0) usage("nothing was run:", "no instruction set of this machine has kernels");
  std::printf("%d of %d passed\n", ran - failed, ran);
  return failed != 0;
}
