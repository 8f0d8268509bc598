// How a step's attention is cut into pieces, the same for all layers of one shape.
//
// The keys of a sequence lie in spans of kSpanTokens at fixed positions. A tile is some rows of one
// sequence; a piece is a tile, one KV head and some spans. Where a tile has more work than its
// share of the step, its spans are spread over several pieces, whose results are kept apart per
// span and merged in order by whichever piece is done last: so how the work is cut leaves no trace
// in a row's bits.
#ifndef CK_SCHEDULE_HPP
#define CK_SCHEDULE_HPP

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "../linear/scratch.hpp"
#include "../plan/node.hpp"

namespace ck {

constexpr int kSpanTokens = 256;
constexpr int kSpanBlocks = kSpanTokens / CK_BLOCK_TOKENS;
/// Queries (rows of a tile times query heads of a KV head) that one piece works on at most.
constexpr int kTileQueries = 48;

/// Some rows of a sequence.
struct Tile {
  const ck_sequence* sequence;
  int first_row, rows;  // in the step
  int position;         // of first_row
  int first_span, last_span;
  int parts = 1;       // pieces a KV head
  int counter = 0;     // of several parts: where its counters of finished pieces start
  size_t partial = 0;  // and its results a span

  int spans() const { return last_span - first_span + 1; }
};

struct Piece {
  int tile, kv_head, first_span, last_span;
};

/// The shape of an attention, as far as its cutting and its workspace depend on it.
struct AttendGeometry {
  int heads, kv_heads, width, window;

  bool operator==(const AttendGeometry&) const = default;
  int group() const { return heads / kv_heads; }
  /// The first key that a query at `position` sees.
  int first_key(int position) const {
    return window == 0 || position < window ? 0 : position - window + 1;
  }
};

/// A query's result over some keys: largest score, sum of weights, and values [width] by weight.
struct Partials {
  float *largest, *sums, *out;  // [queries], [queries], [queries, width]
};

class Schedule : public Node {
 public:
  explicit Schedule(const AttendGeometry& geometry) : geometry_(geometry) {}

  const AttendGeometry& geometry() const { return geometry_; }
  void prepare(const Step& step) override;
  void run(Worker&, const Step&) override {}
  size_t scratch_bytes() const override { return partials_.bytes(); }
  void rest() override { partials_.rest(); }

  const std::vector<Tile>& tiles() const { return tiles_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  /// The blocks that a tile sees keys of, of some spans: first ..< end.
  std::pair<int, int> blocks(const Tile& tile, int first_span, int last_span) const;
  /// The sequence of a row.
  const ck_sequence& sequence(int row) const { return *row_sequences_[row]; }

  /// Whether every sequence has one row: a piece then appends the key and value that it alone
  /// needs, and no thread waits for another.
  bool decodes() const { return decodes_; }

  /// The result of one span of a tile of several parts.
  Partials partials(const Tile& tile, int kv_head, int span) const;
  /// Counts a finished piece of a tile of several parts; whether it was the tile's last for the
  /// head, whose count then starts anew.
  bool finish(const Tile& tile, int kv_head);

 private:
  size_t partial_floats(const Tile& tile) const;

  AttendGeometry geometry_;
  std::vector<Tile> tiles_;
  std::vector<Piece> pieces_;
  std::vector<const ck_sequence*> row_sequences_;
  bool decodes_ = false;
  Scratch partials_;
  std::unique_ptr<std::atomic<int>[]> finished_;
  int counters_ = 0;
};

}  // namespace ck

#endif  // CK_SCHEDULE_HPP
