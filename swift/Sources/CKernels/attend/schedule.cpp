#include "schedule.hpp"

#include <algorithm>

namespace ck {
namespace {

/// Pieces that a thread gets on average: enough that one which is slow, or gone, costs little.
constexpr int kPiecesAThread = 6;

}  // namespace

size_t Schedule::partial_floats(const Tile& tile) const {
  size_t floats = size_t(tile.rows) * geometry_.group() * (geometry_.width + 2);
  return (floats + 15) / 16 * 16;
}

Partials Schedule::partials(const Tile& tile, int kv_head, int span) const {
  size_t index = size_t(kv_head) * tile.spans() + span - tile.first_span;
  float* at =
      reinterpret_cast<float*>(partials_.data()) + tile.partial + index * partial_floats(tile);
  int queries = tile.rows * geometry_.group();
  float* largest = at + size_t(queries) * geometry_.width;
  return {largest, largest + queries, at};
}

std::pair<int, int> Schedule::blocks(const Tile& tile, int first_span, int last_span) const {
  int first = geometry_.first_key(tile.position) / CK_BLOCK_TOKENS;
  int last = (tile.position + tile.rows - 1) / CK_BLOCK_TOKENS;
  return {std::max(first, first_span * kSpanBlocks),
          std::min(last + 1, (last_span + 1) * kSpanBlocks)};
}

bool Schedule::finish(const Tile& tile, int kv_head) {
  std::atomic<int>& finished = finished_[tile.counter + kv_head];
  if (finished.fetch_add(1) + 1 < tile.parts) return false;
  finished = 0;
  return true;
}

void Schedule::prepare(const Step& step) {
  tiles_.clear();
  pieces_.clear();
  row_sequences_.clear();
  decodes_ = step.sequence_count == step.rows;
  int rows_a_tile = std::max(1, kTileQueries / geometry_.group());
  long long work = 0;  // rows times spans, of one KV head
  for (int s = 0; s < step.sequence_count; s++) {
    const ck_sequence& sequence = step.sequences[s];
    row_sequences_.insert(row_sequences_.end(), sequence.row_count, &sequence);
    for (int row = 0; row < sequence.row_count; row += rows_a_tile) {
      Tile tile;
      tile.sequence = &sequence;
      tile.first_row = sequence.first_row + row;
      tile.rows = std::min(rows_a_tile, sequence.row_count - row);
      tile.position = sequence.position + row;
      tile.first_span = geometry_.first_key(tile.position) / kSpanTokens;
      tile.last_span = (tile.position + tile.rows - 1) / kSpanTokens;
      tiles_.push_back(tile);
      work += (long long)tile.rows * tile.spans();
    }
  }
  // The longest first: what is left when others are done is then short.
  std::sort(tiles_.begin(), tiles_.end(), [](const Tile& a, const Tile& b) {
    long long of_a = (long long)a.rows * a.spans(), of_b = (long long)b.rows * b.spans();
    return of_a != of_b ? of_a > of_b : a.first_row < b.first_row;
  });

  int pieces = kPiecesAThread * step.threads;
  long long share = std::max<long long>(1, work * geometry_.kv_heads / pieces);
  int counters = 0;
  size_t floats = 0;
  for (int t = 0; t < int(tiles_.size()); t++) {
    Tile& tile = tiles_[t];
    long long parts = ((long long)tile.rows * tile.spans() + share - 1) / share;
    tile.parts = int(std::min<long long>(parts, tile.spans()));
    if (tile.parts > 1) {
      tile.counter = counters;
      tile.partial = floats;
      counters += geometry_.kv_heads;
      floats += partial_floats(tile) * tile.spans() * geometry_.kv_heads;
    }
    for (int head = 0; head < geometry_.kv_heads; head++) {
      for (int part = 0; part < tile.parts; part++) {
        int first = int((long long)tile.spans() * part / tile.parts);
        int end = int((long long)tile.spans() * (part + 1) / tile.parts);
        pieces_.push_back({t, head, tile.first_span + first, tile.first_span + end - 1});
      }
    }
  }
  partials_.reserve(floats * sizeof(float));
  if (counters > counters_) {
    finished_ = std::make_unique<std::atomic<int>[]>(counters);
    counters_ = counters;
  }
  for (int i = 0; i < counters_; i++) finished_[i] = 0;
}

}  // namespace ck
