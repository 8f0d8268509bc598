#include "cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace ck {
namespace {

/// Of a group and its ancestors: `path` as in /proc/self/cgroup, under `root`.
double least_on_path(const std::string& root, std::string path, GroupLimit limit) {
  double least = limit(root);
  while (path.size() > 1) {
    least = std::min(least, limit(root + path));
    path.resize(path.rfind('/'));
  }
  return least;
}

}  // namespace

/// cgroups(7): lines of "hierarchy:controllers:path"; version 2 has no controllers.
double least_group_limit(const char* controller, GroupLimit version2, GroupLimit version1,
                         const GroupFiles& files) {
  const std::string& root = files.root;
  std::ifstream groups(files.own);
  double least = std::numeric_limits<double>::infinity();
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    if (second == first + 1) least = std::min(least, least_on_path(root, path, version2));
    for (std::string name; std::getline(controllers, name, ',');) {
      if (name != controller) continue;
      least = std::min(least, least_on_path(root + "/" + controller, path, version1));
    }
  }
  return least;
}

}  // namespace ck
