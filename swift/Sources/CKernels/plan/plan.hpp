// A plan: the ops of one forward pass, recorded once, replayed every step.
#ifndef CK_PLAN_HPP
#define CK_PLAN_HPP

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "../kv/kv.hpp"
#include "../linear/scratch.hpp"
#include "track.hpp"

namespace ck {

class Outputs;

/// What a step may ask of a plan.
struct PlanLimits {
  int max_rows = 0;
  int vocabulary = 0;     // tokens below it can be embedded; 0: the plan embeds none
  int input_columns = 0;  // 0: the plan takes no rows
  bool attends = false;
  int output_columns = 0;
  bool ends_in_logits = false;
};

class Plan {
 public:
  Plan(ck_isa isa, int max_rows, std::shared_ptr<KvCache> kv);

  // Recording. Each of these throws std::invalid_argument when its arguments do not fit together.
  ck_rows input(int columns);
  ck_rows embed(const ck_matrix& table);
  ck_rows norm_linear(ck_rows x, const float* weight, float epsilon, const ck_matrix& matrix);
  ck_rows attend(ck_rows qkv, const ck_attention& attention);
  ck_rows linear(ck_rows x, const ck_matrix& matrix, ck_rows residual);
  ck_rows gated_linear(ck_rows gate_up, ck_activation activation, const ck_matrix& matrix,
                       ck_rows residual);
  void logits(ck_rows x, const float* weight, float epsilon, const ck_matrix& matrix);

  /// Ends the recording: gives rows their memory and makes the nodes. Idempotent.
  void seal();
  const PlanLimits& limits() const { return limits_; }
  KvCache* kv() const { return kv_.get(); }
  /// Of a sealed plan.
  size_t bytes() const;
  /// Of a sealed plan: see ck_plan_layers.
  int layers() const { return int(layers_.size()); }
  /// Replays a sealed plan. One step at a time.
  void run(const Step& step);
  /// Gives the memory of rows and scratch space back until the next step.
  void rest();

 private:
  using Make = std::function<std::shared_ptr<Node>(Track&)>;
  struct Op {
    std::vector<ck_rows> reads;
    ck_rows residual, writes;  // -1: none; `writes` may take the place of a residual's last use
    Make make;
    bool attends = false;
  };
  /// Ops up to `end_op`. Those after it read one result of the ops before it, `out`.
  struct Layer {
    size_t end_op;
    ck_rows out;
  };
  ck_rows record(std::vector<ck_rows> reads, ck_rows residual, int columns, Make make);
  const Rows& rows(ck_rows id, const char* what) const;
  void expect(ck_rows id, int columns, const char* what) const;
  void expect(const ck_matrix& matrix) const;
  std::vector<int> assign_slots();
  void find_layers();
  ck_rows only_result_before(size_t op) const;
  size_t first_op(int layer) const { return layer == 0 ? 0 : layers_[layer - 1].end_op; }
  void run_halves(const Step& step);
  std::span<float> rows_before(int layer, const Step& part) const;
  void take_up(const Step& part) const;
  void keep(const Step& part) const;
  void give(const Track& track, const Step& step) const;

  ck_isa isa_;
  std::shared_ptr<KvCache> kv_;
  PlanLimits limits_;
  std::vector<Op> ops_;
  std::vector<Rows> rows_;
  bool sealed_ = false;
  std::unique_ptr<Track> main_, beside_;
  std::vector<Layer> layers_;
  Scratch kept_;  // rows between two layers
};

}  // namespace ck

struct ck_plan {
  std::shared_ptr<ck::Plan> plan;  // queued steps keep it
  std::shared_ptr<ck::Outputs> outputs;
  std::vector<uint64_t> written;  // by block: the last step that writes it
  uint64_t steps = 0;
  int kept_rows = 0, kept_layer = 0;  // between the steps issued so far and the next
};

#endif  // CK_PLAN_HPP
