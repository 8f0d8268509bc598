#include "attend.hpp"

#include <algorithm>
#include <utility>

#include "kernels.hpp"
#include "read_ahead.hpp"

namespace ck {
namespace {

constexpr int kRowsAnAppend = 4;
constexpr float kLog2E = 1.44269504f;

/// What one thread needs for one piece, in its own scratch memory.
struct Workspace {
  Workspace(Worker& worker, int queries, int width) {
    size_t row = size_t(queries) * width, spans = size_t(queries) * kSpanTokens;
    size_t floats = 2 * row + row / 2 + spans + spans / 2 + size_t(queries) * (kSpanSums + 7);
    auto* at = static_cast<float*>(worker.scratch(floats * sizeof(float) + 64 * 16));
    auto take = [&](size_t count) { return std::exchange(at, at + (count + 15) / 16 * 16); };
    part = {take(queries), take(queries), take(row)};
    total = {take(queries), take(queries), take(row)};
    q = reinterpret_cast<int16_t*>(take(row / 2));
    q_scales = take(queries);
    scores = take(spans);
    weights = reinterpret_cast<int16_t*>(take(spans / 2));
    unscale = take(size_t(queries) * kSpanSums);
    first = reinterpret_cast<int32_t*>(take(queries));
    last = reinterpret_cast<int32_t*>(take(queries));
  }

  Partials part, total;
  float *q_scales, *scores, *unscale;
  int16_t *q, *weights;
  int32_t *first, *last;
};

class Attend : public Node {
 public:
  Attend(const AttendKernels* kernels, RowBuffer qkv, const ck_attention& a,
         std::shared_ptr<KvCache> kv, std::shared_ptr<Rotary> rotary,
         std::shared_ptr<Schedule> schedule, RowBuffer out)
      : kernels_(*kernels),
        qkv_(qkv),
        out_(out),
        layer_(a.layer),
        scale_(a.soft_cap == 0 ? a.scale * kLog2E : a.scale),
        geometry_(schedule->geometry()),
        shape_{a.head_dim, geometry_.width, a.soft_cap},
        kv_(std::move(kv)),
        rotary_(std::move(rotary)),
        schedule_(std::move(schedule)) {}

  /// The schedule is a node before this one.
  void prepare(const Step& step) override {
    deal_.reset(int(schedule_->pieces().size()), step.threads);
    rows_deal_.reset((step.rows + kRowsAnAppend - 1) / kRowsAnAppend, step.threads);
  }

  /// The keys and values of a thread's first block, of all KV heads.
  Ahead ahead(int thread) const override {
    auto [next, end] = deal_.share(thread);
    if (next >= end) return {};
    const Piece& piece = schedule_->pieces()[next];
    const Tile& tile = schedule_->tiles()[piece.tile];
    int block = schedule_->blocks(tile, piece.first_span, piece.first_span).first;
    const uint8_t* data = kv_->record(tile.sequence->blocks[block], layer_, piece.kv_head);
    size_t heads = geometry_.kv_heads - piece.kv_head;
    return {data, heads * RecordLayout(shape_.head_dim).bytes()};
  }

  void run(Worker& worker, const Step& step) override {
    if (!schedule_->decodes()) {
      worker.for_each(rows_deal_, [&](int piece) {
        int end = std::min(step.rows, (piece + 1) * kRowsAnAppend);
        for (int row = piece * kRowsAnAppend; row < end; row++) {
          for (int head = 0; head < geometry_.kv_heads; head++) {
            append(row, step.positions[row], head);
          }
        }
      });
    }
    ReadAhead ahead(*schedule_, *kv_, layer_, deal_.share(worker.index()));
    worker.for_each(deal_, [&](int piece) { attend(worker, piece, ahead); });
  }

 private:
  const float* head(int row, int head) const {
    return qkv_.data + size_t(row) * qkv_.columns + head * shape_.head_dim;
  }

  void append(int row, int position, int kv_head) {
    int block = schedule_->sequence(row).blocks[position / CK_BLOCK_TOKENS];
    kernels_.append(shape_, head(row, geometry_.heads + kv_head),
                    head(row, geometry_.heads + geometry_.kv_heads + kv_head), rotary_->row(row),
                    kv_->record(block, layer_, kv_head), position % CK_BLOCK_TOKENS);
  }

  void attend(Worker& worker, int index, ReadAhead& ahead) {
    const Piece& piece = schedule_->pieces()[index];
    const Tile& tile = schedule_->tiles()[piece.tile];
    int queries = tile.rows * geometry_.group();
    Workspace work(worker, queries, shape_.width);
    if (schedule_->decodes() && piece.last_span == tile.last_span) {
      append(tile.first_row, tile.position, piece.kv_head);
    }
    quantize_queries(tile, piece.kv_head, work);
    for (int span = piece.first_span; span <= piece.last_span; span++) {
      Partials part = tile.parts > 1 ? schedule_->partials(tile, piece.kv_head, span) : work.part;
      ahead.reach(index, span);
      attend_span(tile, piece.kv_head, span, work, part, ahead);
      if (tile.parts == 1) add_span(tile, span, part, work);
    }
    if (tile.parts > 1) {
      if (!schedule_->finish(tile, piece.kv_head)) return;
      for (int span = tile.first_span; span <= tile.last_span; span++) {
        add_span(tile, span, schedule_->partials(tile, piece.kv_head, span), work);
      }
    }
    for (int i = 0; i < queries; i++) {
      int row = tile.first_row + i / geometry_.group();
      int head = piece.kv_head * geometry_.group() + i % geometry_.group();
      float* out = out_.data + size_t(row) * out_.columns + head * shape_.head_dim;
      kernels_.finish(shape_.head_dim, work.total.out + size_t(i) * shape_.width,
                      work.total.sums[i], out);
    }
  }

  void quantize_queries(const Tile& tile, int kv_head, const Workspace& work) {
    int group = geometry_.group();
    for (int i = 0; i < tile.rows * group; i++) {
      int row = tile.first_row + i / group;
      kernels_.query(shape_, head(row, kv_head * group + i % group), rotary_->row(row),
                     work.q + size_t(i) * shape_.width, work.q_scales + i);
      work.q_scales[i] *= scale_;
    }
  }

  /// The keys of a span that the query at `position` sees: first ..< last, or an empty range.
  std::pair<int, int> seen(int position, int span) const {
    int start = span * kSpanTokens;
    int first = std::max(geometry_.first_key(position) - start, 0);
    int last = std::min(position + 1 - start, kSpanTokens);
    return {first, std::max(first, last)};
  }

  void attend_span(const Tile& tile, int kv_head, int span, const Workspace& work,
                   const Partials& part, ReadAhead& ahead) {
    SpanTask task{};
    task.shape = shape_;
    task.queries = tile.rows * geometry_.group();
    auto [block, end] = schedule_->blocks(tile, span, span);
    for (; block < end; block++) {
      task.records[block % kSpanBlocks] =
          kv_->record(tile.sequence->blocks[block], layer_, kv_head);
    }
    task.fetch = &ahead;
    task.q = work.q;
    task.q_scales = work.q_scales;
    for (int i = 0; i < task.queries; i++) {
      auto [first, last] = seen(tile.position + i / geometry_.group(), span);
      work.first[i] = first;
      work.last[i] = last;
    }
    task.first = work.first;
    task.last = work.last;
    task.scores = work.scores;
    task.weights = work.weights;
    task.unscale = work.unscale;
    task.largest = part.largest;
    task.sums = part.sums;
    task.out = part.out;
    kernels_.span(task);
  }

  void add_span(const Tile& tile, int span, const Partials& part, const Workspace& work) {
    const Partials& total = work.total;
    for (int i = 0; i < tile.rows * geometry_.group(); i++) {
      int position = tile.position + i / geometry_.group();
      auto [first, last] = seen(position, span);
      if (first == last) continue;
      bool is_first = span == geometry_.first_key(position) / kSpanTokens;
      size_t at = size_t(i) * shape_.width;
      kernels_.merge(shape_.width, is_first, part.largest + i, part.sums + i, part.out + at,
                     total.largest + i, total.sums + i, total.out + at);
    }
  }

  const AttendKernels& kernels_;
  RowBuffer qkv_, out_;
  int layer_;
  float scale_;  // the kernels' exponentials are of 2
  AttendGeometry geometry_;
  AttendShape shape_;
  std::shared_ptr<KvCache> kv_;
  std::shared_ptr<Rotary> rotary_;
  std::shared_ptr<Schedule> schedule_;
  Deal deal_;       // of its pieces
  Deal rows_deal_;  // of rows to append
};

}  // namespace

std::shared_ptr<Node> make_attend(ck_isa isa, RowBuffer qkv, const ck_attention& attention,
                                  std::shared_ptr<KvCache> kv, std::shared_ptr<Rotary> rotary,
                                  std::shared_ptr<Schedule> schedule, RowBuffer out) {
  return std::make_shared<Attend>(attend_kernels(isa), qkv, attention, std::move(kv),
                                  std::move(rotary), std::move(schedule), out);
}

}  // namespace ck
