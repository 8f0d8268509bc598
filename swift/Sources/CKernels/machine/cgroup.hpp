// What Linux's control groups allow a process.
#ifndef CK_CGROUP_HPP
#define CK_CGROUP_HPP

#include <string>

namespace ck {

/// A limit that a group's folder states; infinity where it states none.
using GroupLimit = double (*)(const std::string& folder);

/// Where the kernel tells of groups.
struct GroupFiles {
  std::string root = "/sys/fs/cgroup";
  std::string own = "/proc/self/cgroup";
};

/// The least limit of the process's own groups and their ancestors, of cgroups version 2 and of
/// version 1's `controller`; infinity where there are no groups.
double least_group_limit(const char* controller, GroupLimit version2, GroupLimit version1,
                         const GroupFiles& files);

}  // namespace ck

#endif  // CK_CGROUP_HPP
