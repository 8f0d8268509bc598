// A packed matrix: sections of rows, each in one layout.
#ifndef CK_MATRIX_HPP
#define CK_MATRIX_HPP

#include <cstdint>
#include <vector>

#include "../include/ckernels.h"
#include "arena.hpp"
#include "layout.hpp"

namespace ck {

/// Consecutive rows of a matrix in one format.
struct Section {
  PanelFormat format;
  int first_row, rows;
  const uint8_t* panels;

  int panel_count() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

}  // namespace ck

struct ck_matrix {
  ck_isa isa;
  int rows = 0, columns = 0;
  std::vector<ck::Section> sections;
  ck::Allocation memory;
};

#endif  // CK_MATRIX_HPP
