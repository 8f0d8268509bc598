#include "projection.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace ck {
namespace {

// Up to this many rows every thread prepares all of them for itself: cheaper than a barrier.
constexpr int kFewRows = 4;
constexpr int kRowsPreparedAPiece = 4;

// Rows are multiplied in chunks: of so many at most, and where they are enough, one for each
// thread, which then reads, op after op, rows that it wrote itself. What another core wrote comes
// at a tenth of the speed where the two share no cache.
constexpr int kMostRows = 128, kFewestRows = 16;

// Bytes of weights that a thread multiplies at a time.
constexpr size_t kSmallestPiece = 16 << 10, kLargestPiece = 64 << 10;
constexpr size_t kPiecesAMatrix = 48;

// Pieces are claimed in runs, since a claim empties the pipe of reads: at most so many bytes of
// weights times rows, but a piece at least, and a thread's whole share of a matrix where that is
// less.
constexpr size_t kLargestRun = 512 << 10;

// Fetched before its time: an eighth of a usual second cache.
constexpr size_t kAheadBytes = 128 << 10;

size_t aligned(size_t bytes) {
  return (bytes + Scratch::kAlignment - 1) / Scratch::kAlignment * Scratch::kAlignment;
}

size_t whole_pairs(size_t columns) { return (columns + 1) / 2 * 2; }

int chunk_count(int rows, int threads) {
  return std::max((rows + kMostRows - 1) / kMostRows, std::min(threads, rows / kFewestRows));
}

/// The first row of the `index`-th of `count` chunks.
int chunk_start(int rows, int index, int count) {
  return static_cast<int>(static_cast<int64_t>(rows) * index / count);
}

const LinearKernels& kernels_for(const ck_matrix& matrix) {
  const LinearKernels* kernels = linear_kernels(matrix.isa);
  if (kernels == nullptr) throw std::invalid_argument("no kernels for this instruction set");
  return *kernels;
}

}  // namespace

Projection::Projection(const ck_matrix& matrix, int max_rows, Scratch& scratch)
    : matrix_(matrix), kernels_(kernels_for(matrix)), scratch_(scratch) {
  for (const Section& section : matrix.sections) {
    const Layout layout = section.format.layout;
    const bool bfloats =
        layout == Layout::bf16 && !section.format.float_activations && kernels_.round != nullptr;
    (bfloats ? bfloats_ : is_float(layout) ? floats_ : quantized_) = true;
  }
  cut_into_pieces();
  scratch.reserve(prepared_bytes(max_rows));
}

void Projection::cut_into_pieces() {
  for (const Section& section : matrix_.sections) {
    bytes_ += section.panel_count() * section.format.panel_bytes(matrix_.columns);
  }
  size_t target = std::clamp(bytes_ / kPiecesAMatrix, kSmallestPiece, kLargestPiece);
  for (const Section& section : matrix_.sections) {
    size_t panel = section.format.panel_bytes(matrix_.columns);
    int panels = section.panel_count();
    int pieces = std::clamp<int>(panels * panel / target, 1, panels);
    for (int i = 0, first = 0; i < pieces; i++) {
      int last = static_cast<int>(static_cast<int64_t>(panels) * (i + 1) / pieces);
      pieces_.push_back({&section, first, last - first});
      first = last;
    }
  }
}

size_t Projection::prepared_bytes(int rows) const {
  size_t columns = matrix_.columns, bytes = 0;
  if (quantized_) {
    bytes += aligned(rows * columns);
    bytes += aligned(rows * columns / kGroupColumns * sizeof(ActivationGroup));
  }
  if (floats_) bytes += aligned(rows * columns * sizeof(float));
  if (bfloats_) bytes += aligned(rows * whole_pairs(columns) * sizeof(uint16_t));
  return bytes;
}

Projection::Prepared Projection::prepared_at(uint8_t* memory, int rows) const {
  size_t columns = matrix_.columns;
  Prepared prepared{};
  if (quantized_) {
    prepared.values = reinterpret_cast<int8_t*>(memory);
    memory += aligned(rows * columns);
    prepared.groups = reinterpret_cast<ActivationGroup*>(memory);
    memory += aligned(rows * columns / kGroupColumns * sizeof(ActivationGroup));
  }
  if (floats_) {
    prepared.floats = reinterpret_cast<float*>(memory);
    memory += aligned(rows * columns * sizeof(float));
  }
  if (bfloats_) prepared.bfloats = reinterpret_cast<uint16_t*>(memory);
  return prepared;
}

void Projection::prepare_row(const Step& step, int row, float* buffer, const Prepared& to) const {
  size_t columns = matrix_.columns;
  const float* x = input(step, row, buffer);
  if (quantized_) {
    kernels_.quantize(x, matrix_.columns, to.values + row * columns,
                      to.groups + row * columns / kGroupColumns);
  }
  if (floats_) std::memcpy(to.floats + row * columns, x, columns * sizeof(float));
  if (bfloats_) kernels_.round(x, matrix_.columns, to.bfloats + row * whole_pairs(columns));
}

void Projection::multiply(const Piece& piece, const Prepared& from, int first_row, int rows,
                          float* out) const {
  const Section& section = *piece.section;
  const size_t columns = matrix_.columns, stride = matrix_.rows;
  const size_t panel_bytes = section.format.panel_bytes(matrix_.columns);
  const int first_output = piece.first_panel * kPanelRows;
  const size_t offset = first_row * stride + section.first_row + first_output;
  LinearTask task{};
  task.x.rows = rows;
  task.x.columns = matrix_.columns;
  if (quantized_) {
    task.x.values = from.values + first_row * columns;
    task.x.groups = from.groups + first_row * columns / kGroupColumns;
  }
  if (floats_) task.x.floats = from.floats + first_row * columns;
  if (bfloats_) task.x.bfloats = from.bfloats + first_row * whole_pairs(columns);
  task.format = section.format;
  task.panels = section.panels + piece.first_panel * panel_bytes;
  task.panel_count = piece.panel_count;
  task.outputs = std::min(piece.panel_count * kPanelRows, section.rows - first_output);
  task.panel_bytes = panel_bytes;
  task.residual = residual() == nullptr ? nullptr : residual() + offset;
  task.out = out + offset;
  task.out_stride = stride;
  kernels_.multiply[static_cast<int>(section.format.layout)](task);
}

void Projection::run_few(Worker& worker, const Step& step, int rows) {
  const size_t buffer_bytes = aligned(matrix_.columns * sizeof(float));
  auto* memory = static_cast<uint8_t*>(worker.scratch(buffer_bytes + prepared_bytes(rows)));
  auto* buffer = reinterpret_cast<float*>(memory);
  const Prepared prepared = prepared_at(memory + buffer_bytes, rows);
  float* out = output(step);
  bool ready = false;  // a thread that claims no piece has no use for the rows
  worker.for_each(deal_, [&](int run) {
    for (int row = 0; row < rows && !ready; row++) prepare_row(step, row, buffer, prepared);
    ready = true;
    for (const Piece& piece : pieces_of(run)) multiply(piece, prepared, 0, rows, out);
  });
}

void Projection::run_many(Worker& worker, const Step& step, int rows) {
  auto* buffer = static_cast<float*>(worker.scratch(matrix_.columns * sizeof(float)));
  const Prepared prepared = prepared_at(scratch_.data(), rows);
  worker.for_each(rows_deal_, [&](int piece) {
    int first = piece * kRowsPreparedAPiece;
    int last = std::min(first + kRowsPreparedAPiece, rows);
    for (int row = first; row < last; row++) prepare_row(step, row, buffer, prepared);
  });
  float* out = output(step);
  worker.for_each(deal_, [&](int index) {
    const int chunk = index / runs_, first = chunk_start(rows, chunk, chunks_);
    const int count = chunk_start(rows, chunk + 1, chunks_) - first;
    for (const Piece& piece : pieces_of(index % runs_)) {
      multiply(piece, prepared, first, count, out);
    }
  });
}

void Projection::prepare(const Step& step) {
  const int rows = row_count(step), threads = step.threads;
  chunks_ = std::max(1, chunk_count(rows, threads));
  const size_t runs = threads * (bytes_ * rows / (threads * kLargestRun) + 1);
  runs_ = static_cast<int>(std::min(pieces_.size(), (runs + chunks_ - 1) / chunks_));
  deal_.reset(rows == 0 ? 0 : runs_ * chunks_, threads);
  rows_deal_.reset((rows + kRowsPreparedAPiece - 1) / kRowsPreparedAPiece, threads);
}

std::span<const Projection::Piece> Projection::pieces_of(int run) const {
  const size_t first = pieces_.size() * run / runs_, end = pieces_.size() * (run + 1) / runs_;
  return std::span(pieces_).subspan(first, end - first);
}

Ahead Projection::ahead(int thread) const {
  auto [index, end] = deal_.share(thread);
  if (index >= end) return {};
  const Piece& first = pieces_of(index % runs_).front();
  const Piece& last = pieces_of(std::min(end - 1 - index / runs_ * runs_, runs_ - 1)).back();
  const Section& section = *first.section;
  int end_panel =
      last.section == &section ? last.first_panel + last.panel_count : section.panel_count();
  const size_t panel_bytes = section.format.panel_bytes(matrix_.columns);
  return {section.panels + first.first_panel * panel_bytes,
          std::min((end_panel - first.first_panel) * panel_bytes, kAheadBytes)};
}

void Projection::run(Worker& worker, const Step& step) {
  const int rows = row_count(step);
  if (rows == 0) return;  // a prompt's chunk that wants no logits has dealt no pieces
  if (rows <= kFewRows) {
    run_few(worker, step, rows);
  } else {
    run_many(worker, step, rows);
  }
}

}  // namespace ck
