#include "handles.hpp"

namespace ck::test {

cmlx_stream stream() {
  struct Owner {
    cmlx_stream stream = call<cmlx_stream>(cmlx_stream_create, 0);
    ~Owner() {
      cmlx_stream_free(stream);
      cmlx_streams_clear();
    }
  };
  thread_local Owner owner;
  return owner.stream;
}

Array array_of(const void* data, std::initializer_list<int32_t> shape, int dtype) {
  return Array(call<cmlx_array>(cmlx_array_from, data, shape.begin(),
                                static_cast<int>(shape.size()), dtype));
}

Array zeros(std::initializer_list<int32_t> shape) {
  int rank = static_cast<int>(shape.size());
  return Array(call<cmlx_array>(cmlx_zeros, stream(), shape.begin(), rank, CMLX_FLOAT32));
}

namespace {

template <class Element>
std::vector<Element> copied(cmlx_array array) {
  std::vector<Element> values(cmlx_array_bytes(array) / sizeof(Element));
  cmlx_error error{};
  size_t bytes = values.size() * sizeof(Element);
  if (cmlx_array_copy(stream(), array, values.data(), bytes, &error) != 0) {
    throw Failure(error.message);
  }
  return values;
}

}  // namespace

std::vector<float> floats(cmlx_array array) { return copied<float>(array); }
std::vector<int32_t> integers(cmlx_array array) { return copied<int32_t>(array); }

Array sampled(cmlx_array logits, const ck_sampling* rows, int count) {
  cmlx_array tokens = nullptr, logprobs = nullptr;
  cmlx_error error{};
  int failed = ck_sample(stream(), logits, rows, count, &tokens, &logprobs, &error);
  expect(failed == 0, error.message);
  return Array(tokens);
}

Plan new_plan(ck_isa isa, int max_rows, ck_kv* cache) {
  return Plan(call<ck_plan*>(ck_plan_create, isa, max_rows, cache));
}

std::vector<float> run_step(ck_plan* plan, const ck_step& step, cmlx_array previous) {
  return floats(Array(call<cmlx_array>(ck_plan_step, plan, stream(), &step, previous)).get());
}

std::vector<float> run_rows(ck_plan* plan, const std::vector<float>& inputs, int rows) {
  ck_sequence sequence{0, rows, 0, 0, nullptr};
  ck_step step{};
  step.row_count = rows;
  step.sequence_count = 1;
  step.sequences = &sequence;
  step.inputs = inputs.data();
  return run_step(plan, step);
}

}  // namespace ck::test
