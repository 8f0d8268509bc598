// How many threads this process may keep busy.
#ifndef CK_SHARE_HPP
#define CK_SHARE_HPP

#include "../machine/cgroup.hpp"

namespace ck {

/// Processors that the quotas of the process's control groups allow; infinity where there are none.
double group_processors(const GroupFiles& files = {});

/// The smaller of the processors that affinity allows and the cgroup quotas (v1 and v2, the
/// process's own group and its ancestors), rounded to the nearest; at least 1.
int machine_share();

}  // namespace ck

#endif  // CK_SHARE_HPP
