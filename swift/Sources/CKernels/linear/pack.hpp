// From a checkpoint's matrix to panels.
#ifndef CK_PACK_HPP
#define CK_PACK_HPP

#include "../include/ckernels.h"
#include "layout.hpp"

namespace ck {

/// Why a matrix cannot be packed; null if it can.
const char* packing_obstacle(const ck_source& source);

/// The layout of a source that can be packed. Reads a float32 matrix through, to find the narrowest
/// type that holds it exactly.
PanelFormat panel_format(const ck_source& source);

/// One row of a source, by its logical index.
struct SourceRow {
  const ck_source* source;
  int row;  // -1: zeros, that fill up the last panel
};

/// Writes one panel, whose memory is zero, from 16 rows of sources of one format (or all of float).
void pack_panel(const PanelFormat& format, const SourceRow (&rows)[kPanelRows], uint8_t* panel);

}  // namespace ck

#endif  // CK_PACK_HPP
