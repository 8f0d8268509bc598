#include "step.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace ck {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument("step: " + why); }

std::string text(long long number) { return std::to_string(number); }

}  // namespace

StepData::StepData(ck_plan& plan, const ck_step& step, int previous) {
  const PlanLimits& limits = plan.plan->limits();
  if (step.row_count < 1 || step.row_count > limits.max_rows) {
    refuse(text(step.row_count) + " rows; the plan takes 1 to " + text(limits.max_rows));
  }
  copy_sequences(step);
  if (limits.attends) {
    check_blocks(plan);
    copy_copies(step, plan.plan->kv()->blocks());
  }
  if (limits.vocabulary > 0) copy_tokens(step, limits.vocabulary, previous);
  if (limits.ends_in_logits) copy_logit_rows(step);
  if (limits.input_columns > 0) {
    if (step.inputs == nullptr) refuse("the plan's input is missing");
    inputs.assign(step.inputs, step.inputs + size_t(step.row_count) * limits.input_columns);
  }
  if (step.part_count != 0) copy_part(plan, step);
}

void StepData::copy_sequences(const ck_step& step) {
  if (step.sequence_count < 1 || step.sequence_count > step.row_count) {
    refuse(text(step.sequence_count) + " sequences for " + text(step.row_count) + " rows");
  }
  if (step.sequences == nullptr) refuse("its sequences are missing");
  sequences.assign(step.sequences, step.sequences + step.sequence_count);
  size_t block_count = 0;
  for (size_t i = 0; i < sequences.size(); i++) {
    const ck_sequence& s = sequences[i];
    std::string name = "sequence " + text(i);
    if (s.first_row != rows()) {
      refuse(name + " starts at row " + text(s.first_row) + "; the next one is " + text(rows()));
    }
    if (s.row_count < 1 || s.row_count > step.row_count - rows()) {
      refuse(name + " has " + text(s.row_count) + " rows of the " + text(step.row_count - rows()) +
             " that are left");
    }
    if (s.position < 0 || s.position > INT32_MAX - s.row_count) {
      refuse(name + " starts at position " + text(s.position));
    }
    if (s.block_count < 0 || (s.block_count > 0 && s.blocks == nullptr)) {
      refuse(name + " has " + text(s.block_count) + " blocks and no table of them");
    }
    for (int r = 0; r < s.row_count; r++) positions.push_back(s.position + r);
    block_count += s.block_count;
  }
  if (rows() != step.row_count) {
    refuse("the sequences have " + text(rows()) + " of its " + text(step.row_count) + " rows");
  }
  blocks.reserve(block_count);
  for (ck_sequence& s : sequences) {
    blocks.insert(blocks.end(), s.blocks, s.blocks + s.block_count);
    s.blocks = blocks.data() + blocks.size() - s.block_count;
  }
}

void StepData::check_blocks(ck_plan& plan) const {
  int limit = plan.plan->kv()->blocks();
  auto first_written = [](const ck_sequence& s) { return s.position / CK_BLOCK_TOKENS; };
  plan.written.resize(limit);
  uint64_t now = ++plan.steps;
  for (size_t i = 0; i < sequences.size(); i++) {
    const ck_sequence& s = sequences[i];
    std::string name = "sequence " + text(i);
    int last_written = (s.position + s.row_count - 1) / CK_BLOCK_TOKENS;
    if (s.block_count <= last_written) {
      refuse(name + " has " + text(s.block_count) + " blocks of " + text(CK_BLOCK_TOKENS) +
             " tokens for " + text(s.position + s.row_count) + " tokens");
    }
    for (int b = 0; b < s.block_count; b++) {
      if (s.blocks[b] < 0 || s.blocks[b] >= limit) {
        refuse("block " + text(s.blocks[b]) + " of " + name + " is not among the KV cache's " +
               text(limit));
      }
    }
    for (int b = first_written(s); b <= last_written; b++) {
      if (plan.written[s.blocks[b]] == now) {
        refuse("block " + text(s.blocks[b]) + " of " + name + " is written twice");
      }
      plan.written[s.blocks[b]] = now;
    }
  }
  for (size_t i = 0; i < sequences.size(); i++) {
    const ck_sequence& s = sequences[i];
    for (int b = 0; b < first_written(s); b++) {
      if (plan.written[s.blocks[b]] == now) {
        refuse("block " + text(s.blocks[b]) + " is written while sequence " + text(i) +
               " reads it");
      }
    }
  }
}

void StepData::copy_copies(const ck_step& step, int blocks) {
  if (step.copy_count < 0 || (step.copy_count > 0 && step.copies == nullptr)) {
    refuse(text(step.copy_count) + " copies of blocks and no list of them");
  }
  for (int i = 0; i < step.copy_count; i++) {
    const ck_copy& copy = step.copies[i];
    if (copy.from < 0 || copy.from >= blocks || copy.to < 0 || copy.to >= blocks) {
      refuse("block " + text(copy.from) + " cannot be copied to block " + text(copy.to) +
             " of a KV cache of " + text(blocks));
    }
    copies.push_back(copy);
  }
}

void StepData::copy_tokens(const ck_step& step, int vocabulary, int previous) {
  if (step.tokens == nullptr) refuse("its tokens are missing");
  tokens.assign(step.tokens, step.tokens + step.row_count);
  for (size_t i = 0; i < tokens.size(); i++) {
    long long token = tokens[i];
    if (token >= vocabulary) {
      refuse("token " + text(token) + " of row " + text(i) + " is not in the vocabulary of " +
             text(vocabulary));
    }
    if (token < 0 && -1 - token >= previous) {
      refuse("row " + text(i) + " wants token " + text(-1 - token) +
             " of the step before, which drew " + text(previous));
    }
  }
}

void StepData::copy_logit_rows(const ck_step& step) {
  if (step.logit_count < 0 || step.logit_count > step.row_count) {
    refuse("logits of " + text(step.logit_count) + " of its " + text(step.row_count) + " rows");
  }
  if (step.logit_count > 0 && step.logit_rows == nullptr) refuse("its logit rows are missing");
  logit_rows.assign(step.logit_rows, step.logit_rows + step.logit_count);
  long long before = -1;
  for (int32_t row : logit_rows) {
    if (row <= before || row >= step.row_count) {
      refuse("logit row " + text(row) + " after " + text(before) + "; they ascend below " +
             text(step.row_count));
    }
    before = row;
  }
}

/// Checked last, since it changes what the plan keeps: a step that is refused must not.
void StepData::copy_part(ck_plan& plan, const ck_step& step) {
  const int layers = plan.plan->layers();
  part = {step.part_count, step.part_first, step.part_end};
  if (part.rows < 0 || part.rows > step.row_count) {
    refuse("a part of " + text(part.rows) + " of its " + text(step.row_count) + " rows");
  }
  const int first_row = step.row_count - part.rows;
  auto starts = [&](const ck_sequence& s) { return s.first_row == first_row; };
  if (std::none_of(sequences.begin(), sequences.end(), starts)) {
    refuse("its part starts at row " + text(first_row) + ", in the middle of a sequence");
  }
  if (part.first_layer < 0 || part.first_layer >= part.end_layer || part.end_layer > layers) {
    refuse("its part passes through layers " + text(part.first_layer) + " ..< " +
           text(part.end_layer) + " of " + text(layers));
  }
  if (part.first_layer > 0 &&
      (part.rows != plan.kept_rows || part.first_layer != plan.kept_layer)) {
    refuse("its part of " + text(part.rows) + " rows goes on from layer " + text(part.first_layer) +
           ", and the plan keeps " + text(plan.kept_rows) + " rows at layer " +
           text(plan.kept_layer));
  }
  const bool ends = part.end_layer == layers;
  if (!ends && (!plan.plan->limits().ends_in_logits ||
                (!logit_rows.empty() && logit_rows.back() >= first_row))) {
    refuse("rows that do not pass through the last layer want what comes out of it");
  }
  plan.kept_rows = ends ? 0 : part.rows;
  plan.kept_layer = ends ? 0 : part.end_layer;
}

std::vector<int32_t> StepData::resolved(const int32_t* previous, int vocabulary) const {
  std::vector<int32_t> ids = tokens;
  for (int32_t& id : ids) {
    if (id >= 0) continue;
    id = previous[-1 - id];
    if (id < 0 && id >= CK_LOGITS_MASKED) id = 0;
    if (id < 0 || id >= vocabulary) {
      throw std::out_of_range("step: token " + text(id) +
                              " of the step before is not in the vocabulary of " +
                              text(vocabulary));
    }
  }
  return ids;
}

}  // namespace ck
