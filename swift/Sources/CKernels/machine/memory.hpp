// Memory that the process has and does not use.
#ifndef CK_MEMORY_HPP
#define CK_MEMORY_HPP

#include <cstddef>

#include "cgroup.hpp"

namespace ck {

/// Gives the whole pages of a range of private memory back to the system until they are written
/// again; what they held is lost.
void discard_pages(void* data, size_t bytes);

/// Bytes that the process's control groups allow; infinity where they state no limit.
double group_memory(const GroupFiles& files = {});

/// Bytes that the process may have: the machine's, or what its control groups allow, if that is
/// less.
size_t machine_memory();

}  // namespace ck

#endif  // CK_MEMORY_HPP
