#include "matrix.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../pool/pool.hpp"
#include "cmlx.hpp"
#include "kernels.hpp"
#include "pack.hpp"

namespace ck {
namespace {

constexpr size_t kPackPieceBytes = 256 << 10;

void check(const ck_source* parts, int count, ck_isa isa) {
  if (linear_kernels(isa) == nullptr) {
    throw std::invalid_argument("this machine cannot run the kernels asked for");
  }
  if (count <= 0) throw std::invalid_argument("a packed matrix needs at least one part");
  int64_t rows = 0;
  for (int i = 0; i < count; i++) {
    std::string name = "matrix part " + std::to_string(i);
    if (const char* obstacle = packing_obstacle(parts[i])) {
      throw std::invalid_argument(name + " cannot be packed: " + obstacle);
    }
    if (parts[i].columns != parts[0].columns) {
      throw std::invalid_argument(name + " has " + std::to_string(parts[i].columns) +
                                  " columns, the first part " + std::to_string(parts[0].columns));
    }
    for (int row = 0; parts[i].row_order != nullptr && row < parts[i].rows; row++) {
      if (parts[i].row_order[row] < 0 || parts[i].row_order[row] >= parts[i].rows) {
        throw std::invalid_argument(name + " has a row order that leaves the matrix");
      }
    }
    rows += parts[i].rows;
  }
  if (rows > INT32_MAX) throw std::invalid_argument("a packed matrix has too many rows");
}

/// Whether rows of two sources can lie in one panel.
bool share_panels(const ck_source& a, const ck_source& b) {
  bool floats = a.format <= CK_BFLOAT16 && b.format <= CK_BFLOAT16;
  return a.format == b.format || floats;
}

/// Parts that share a section: `parts` is its first.
struct Span {
  Section section;
  const ck_source* parts;
};

std::vector<Span> cut_into_sections(const ck_source* parts, int count) {
  std::vector<Span> spans;
  int row = 0;
  for (int i = 0; i < count; row += parts[i].rows, i++) {
    PanelFormat format = panel_format(parts[i]);
    if (!spans.empty() && spans.back().section.format == format &&
        share_panels(*spans.back().parts, parts[i])) {
      spans.back().section.rows += parts[i].rows;
    } else {
      spans.push_back({{format, row, parts[i].rows, nullptr}, &parts[i]});
    }
  }
  return spans;
}

void pack_panels(const Span& span, int first, int last, uint8_t* panels) {
  const Section& section = span.section;
  const size_t bytes = section.format.panel_bytes(span.parts->columns);
  const ck_source* part = span.parts;
  int row = first * kPanelRows;  // within the part
  while (row >= part->rows) row -= part++->rows;
  for (int panel = first; panel < last; panel++) {
    SourceRow rows[kPanelRows];
    for (int n = 0; n < kPanelRows; n++) {
      if (panel * kPanelRows + n >= section.rows) {
        rows[n] = {part, -1};
        continue;
      }
      while (row == part->rows) {
        part++;
        row = 0;
      }
      rows[n] = {part, row++};
    }
    pack_panel(section.format, rows, panels + panel * bytes);
  }
}

void pack_section(const Span& span, uint8_t* panels) {
  const size_t bytes = span.section.format.panel_bytes(span.parts->columns);
  const int count = span.section.panel_count();
  const int step = std::max<int>(1, kPackPieceBytes / bytes);
  Pool::shared().run([&](Worker& worker) {
    worker.for_each((count + step - 1) / step, [&](int piece) {
      pack_panels(span, piece * step, std::min(piece * step + step, count), panels);
    });
  });
}

std::unique_ptr<ck_matrix> pack(const ck_source* parts, int count, ck_isa isa) {
  check(parts, count, isa);
  auto matrix = std::make_unique<ck_matrix>();
  matrix->isa = isa;
  matrix->columns = parts[0].columns;
  std::vector<Span> spans = cut_into_sections(parts, count);
  size_t bytes = 0;
  for (const Span& span : spans) {
    bytes += span.section.panel_count() * span.section.format.panel_bytes(matrix->columns);
    matrix->rows += span.section.rows;
  }
  matrix->memory = allocate_weights(bytes);
  uint8_t* panels = matrix->memory.data;
  for (Span& span : spans) {
    pack_section(span, panels);
    span.section.panels = panels;
    panels += span.section.panel_count() * span.section.format.panel_bytes(matrix->columns);
    matrix->sections.push_back(span.section);
  }
  return matrix;
}

}  // namespace
}  // namespace ck

extern "C" int ck_matrix_supported(const ck_source* source, ck_isa isa) {
  return ck::linear_kernels(isa) != nullptr && ck::packing_obstacle(*source) == nullptr;
}

extern "C" int ck_matrix_pack(const ck_source* parts, int count, ck_isa isa, ck_matrix** out,
                              cmlx_error* error) {
  return cmlx::guarded(error, [&] { *out = ck::pack(parts, count, isa).release(); });
}

extern "C" void ck_matrix_free(ck_matrix* matrix) { delete matrix; }

extern "C" int32_t ck_matrix_rows(const ck_matrix* matrix) { return matrix->rows; }

extern "C" int32_t ck_matrix_columns(const ck_matrix* matrix) { return matrix->columns; }

extern "C" size_t ck_matrix_bytes(const ck_matrix* matrix) { return matrix->memory.bytes; }
