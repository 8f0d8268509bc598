// Memory for packed weights: matrices of a model lie one after another in large mappings backed by
// huge pages, since 4 KB pages cost a streaming read a table walk each.
#ifndef CK_ARENA_HPP
#define CK_ARENA_HPP

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ck {

class Mapping;

/// 64-byte aligned memory, zero until written; keeps its mapping alive.
struct Allocation {
  std::shared_ptr<Mapping> mapping;
  uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// Throws std::bad_alloc.
Allocation allocate_weights(size_t bytes);

/// Gives back what the last mapping holds and no matrix has taken.
void trim_weights();

}  // namespace ck

#endif  // CK_ARENA_HPP
