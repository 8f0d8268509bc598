// C handles that free themselves, and statuses that throw.
#ifndef CK_TEST_HANDLES_HPP
#define CK_TEST_HANDLES_HPP

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "../../Sources/CKernels/include/ck_reference.h"
#include "check.hpp"

namespace ck::test {

template <class T, void (*release)(T*)>
struct Release {
  void operator()(T* handle) const { release(handle); }
};
template <class T, void (*release)(T*)>
using Handle = std::unique_ptr<T, Release<T, release>>;

using Array = Handle<cmlx_array_s, cmlx_array_free>;
using Matrix = Handle<ck_matrix, ck_matrix_free>;
using Cache = Handle<ck_kv, ck_kv_free>;
using Plan = Handle<ck_plan, ck_plan_free>;

/// Calls a function whose last two arguments are its result and its error.
template <class Result, class Function, class... Arguments>
Result call(Function function, Arguments... arguments) {
  Result result{};
  cmlx_error error{};
  if (function(arguments..., &result, &error) != 0) throw Failure(error.message);
  return result;
}

/// The message of a function that must fail.
template <class Result, class Function, class... Arguments>
std::string refusal(Function function, Arguments... arguments) {
  Result result{};
  cmlx_error error{};
  expect(function(arguments..., &result, &error) != 0, "bad arguments were accepted");
  return error.message;
}

/// The calling thread's own CPU stream.
cmlx_stream stream();

Array array_of(const void* data, std::initializer_list<int32_t> shape, int dtype);
Array zeros(std::initializer_list<int32_t> shape);
std::vector<float> floats(cmlx_array array);
std::vector<int32_t> integers(cmlx_array array);

/// The tokens of ck_sample, of rows without logprobs.
Array sampled(cmlx_array logits, const ck_sampling* rows, int count);

Plan new_plan(ck_isa isa, int max_rows, ck_kv* cache = nullptr);
/// One step, evaluated.
std::vector<float> run_step(ck_plan* plan, const ck_step& step, cmlx_array previous = nullptr);
/// `inputs` as the rows of one sequence.
std::vector<float> run_rows(ck_plan* plan, const std::vector<float>& inputs, int rows);

}  // namespace ck::test

#endif  // CK_TEST_HANDLES_HPP
