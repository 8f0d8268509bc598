// embed: out[m] = table[tokens[m]], dequantized to float32.
#ifndef CK_EMBED_HPP
#define CK_EMBED_HPP

#include <memory>

#include "../plan/node.hpp"

namespace ck {

/// Token ids of a step must lie in 0 ..< rows of the table.
std::unique_ptr<Node> make_embed(const ck_matrix& table, RowBuffer out);

}  // namespace ck

#endif  // CK_EMBED_HPP
