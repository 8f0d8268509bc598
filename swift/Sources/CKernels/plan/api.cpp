// The C functions of a plan, and the MLX primitive that is one step of it.
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "../../CMLX/include/cmlx.hpp"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"
#include "outputs.hpp"
#include "step.hpp"

namespace {

namespace mx = mlx::core;

/// inputs: none, or the tokens that the step before has drawn. output: what ck_plan_step describes.
class StepPrimitive : public mx::UnaryPrimitive {
 public:
  StepPrimitive(mx::Stream stream, const ck_plan& plan, std::shared_ptr<const ck::StepData> data,
                std::shared_ptr<cmlx::Outcome> outcome)
      : UnaryPrimitive(stream),
        plan_(plan.plan),
        outputs_(plan.outputs),
        data_(std::move(data)),
        outcome_(std::move(outcome)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    const int32_t* previous = nullptr;
    std::shared_ptr<mx::array::Data> keep;
    if (!inputs.empty()) {
      if (!inputs[0].flags().row_contiguous) {
        throw std::invalid_argument("step: the tokens of the step before must be contiguous");
      }
      previous = inputs[0].data<int32_t>();
      keep = inputs[0].data_shared_ptr();
    }
    outputs_->allocate(out);
    mx::cpu::get_command_encoder(stream()).dispatch(
        [plan = plan_, data = data_, previous, keep = std::move(keep), output = out.data<float>(),
         keep_output = out.data_shared_ptr(),
         outcome = outcome_] { outcome->of([&] { replay(*plan, *data, previous, output); }); });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::runtime_error("a recorded step runs on a CPU stream only");
  }

  const char* name() const override { return "RecordedStep"; }

 private:
  static void replay(ck::Plan& plan, const ck::StepData& data, const int32_t* previous,
                     float* output) {
    ck::Pool::shared().place_caller();
    std::vector<int32_t> tokens = data.resolved(previous, plan.limits().vocabulary);
    ck::Step step;
    step.rows = data.rows();
    step.tokens = tokens.data();
    step.sequences = data.sequences.data();
    step.sequence_count = int(data.sequences.size());
    step.positions = data.positions.data();
    step.logit_rows = data.logit_rows.data();
    step.logit_count = int(data.logit_rows.size());
    step.inputs = data.inputs.data();
    step.output = output;
    step.threads = ck::Pool::shared().size();
    step.part = data.part;
    for (const ck_copy& copy : data.copies) plan.kv()->copy_block(copy.from, copy.to);
    plan.run(step);
  }

  std::shared_ptr<ck::Plan> plan_;
  std::shared_ptr<ck::Outputs> outputs_;
  std::shared_ptr<const ck::StepData> data_;
  std::shared_ptr<cmlx::Outcome> outcome_;
};

/// How many tokens `previous` holds. Throws std::invalid_argument for other than int32 [count].
int token_count(cmlx_array previous) {
  if (previous == nullptr) return 0;
  const mx::array& tokens = previous->value;
  if (tokens.dtype() != mx::int32 || tokens.ndim() != 1) {
    throw std::invalid_argument("step: the tokens of the step before must be int32 [count]");
  }
  return tokens.shape(0);
}

const ck_matrix& given(const ck_matrix* matrix) {
  if (matrix == nullptr) throw std::invalid_argument("a plan's op needs a matrix");
  return *matrix;
}

}  // namespace

extern "C" {

int ck_plan_create(ck_isa isa, int max_rows, ck_kv* kv, ck_plan** out, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    auto cache = kv == nullptr ? nullptr : kv->cache;
    *out = new ck_plan{std::make_shared<ck::Plan>(isa, max_rows, std::move(cache)),
                       std::make_shared<ck::Outputs>(),
                       {},
                       0};
  });
}

void ck_plan_free(ck_plan* plan) { delete plan; }

void ck_plan_rest(ck_plan* plan) {
  plan->plan->rest();
  plan->outputs->rest();
  plan->kept_rows = plan->kept_layer = 0;
}

size_t ck_plan_bytes(const ck_plan* plan) {
  cmlx::guarded(nullptr, [&] { plan->plan->seal(); });
  return plan->plan->bytes();
}

int ck_plan_layers(ck_plan* plan, int* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    plan->plan->seal();
    *out = plan->plan->layers();
  });
}

int ck_plan_input(ck_plan* plan, int columns, ck_rows* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] { *out = plan->plan->input(columns); });
}

int ck_plan_embed(ck_plan* plan, const ck_matrix* table, ck_rows* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] { *out = plan->plan->embed(given(table)); });
}

int ck_plan_norm_linear(ck_plan* plan, ck_rows x, const float* weight, float epsilon,
                        const ck_matrix* matrix, ck_rows* out, cmlx_error* error) {
  return cmlx::guarded(error,
                       [&] { *out = plan->plan->norm_linear(x, weight, epsilon, given(matrix)); });
}

int ck_plan_attend(ck_plan* plan, ck_rows qkv, const ck_attention* attention, ck_rows* out,
                   cmlx_error* error) {
  return cmlx::guarded(error, [&] { *out = plan->plan->attend(qkv, *attention); });
}

int ck_plan_linear(ck_plan* plan, ck_rows x, const ck_matrix* matrix, ck_rows residual,
                   ck_rows* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] { *out = plan->plan->linear(x, given(matrix), residual); });
}

int ck_plan_gated_linear(ck_plan* plan, ck_rows gate_up, ck_activation activation,
                         const ck_matrix* matrix, ck_rows residual, ck_rows* out,
                         cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    *out = plan->plan->gated_linear(gate_up, activation, given(matrix), residual);
  });
}

int ck_plan_logits(ck_plan* plan, ck_rows x, const float* weight, float epsilon,
                   const ck_matrix* matrix, cmlx_error* error) {
  return cmlx::guarded(error, [&] { plan->plan->logits(x, weight, epsilon, given(matrix)); });
}

int ck_plan_step(ck_plan* plan, cmlx_stream stream, const ck_step* step, cmlx_array previous,
                 cmlx_array* logits, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    plan->plan->seal();
    const ck::PlanLimits& limits = plan->plan->limits();
    auto data = std::make_shared<const ck::StepData>(*plan, *step, token_count(previous));
    int rows = limits.ends_in_logits ? int(data->logit_rows.size()) : data->rows();
    auto outcome =
        std::make_shared<cmlx::Outcome>(previous == nullptr ? nullptr : previous->outcome);
    std::vector<mx::array> inputs;
    if (previous != nullptr) inputs.push_back(previous->value);
    auto primitive =
        std::make_shared<StepPrimitive>(stream->value, *plan, std::move(data), outcome);
    *logits = cmlx::boxed(mx::array({rows, limits.output_columns}, mx::float32,
                                    std::move(primitive), std::move(inputs)),
                          std::move(outcome));
  });
}

}  // extern "C"
