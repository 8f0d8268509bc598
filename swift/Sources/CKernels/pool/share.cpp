#include "share.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#if defined(__linux__)
#include <sched.h>

#include <fstream>
#include <sstream>
#include <string>
#endif

namespace ck {
namespace {

#if defined(__linux__)

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

int allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more processors than the set has bits: then all that are online.
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

/// quota / period, of "max 100000" or of two files of one number each; a negative quota is none.
double quota_of(std::istream& quota_file, std::istream& period_file) {
  double quota, period;
  if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) {
    return quota / period;
  }
  return kUnlimited;
}

double quota_v2(const std::string& group) {
  std::ifstream file(group + "/cpu.max");
  return quota_of(file, file);
}

double quota_v1(const std::string& group) {
  std::ifstream quota(group + "/cpu.cfs_quota_us"), period(group + "/cpu.cfs_period_us");
  return quota_of(quota, period);
}

/// The least of a group and its ancestors: `path` as in /proc/self/cgroup, under `root`.
double least_quota(const std::string& root, std::string path, double (*quota)(const std::string&)) {
  double least = quota(root);
  while (path.size() > 1) {
    least = std::min(least, quota(root + path));
    path.resize(path.rfind('/'));
  }
  return least;
}

/// cgroups(7): lines of "hierarchy:controllers:path"; version 2 has no controllers.
double quota() {
  std::ifstream groups("/proc/self/cgroup");
  double least = kUnlimited;
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    if (second == first + 1) least = std::min(least, least_quota("/sys/fs/cgroup", path, quota_v2));
    for (std::string name; std::getline(controllers, name, ',');) {
      if (name == "cpu") least = std::min(least, least_quota("/sys/fs/cgroup/cpu", path, quota_v1));
    }
  }
  return least;
}

#else

int allowed_processors() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }
double quota() { return std::numeric_limits<double>::infinity(); }

#endif

}  // namespace

int machine_share() {
  int processors = std::max(1, allowed_processors());
  double limit = quota();
  return limit < processors ? std::max(1, static_cast<int>(std::lround(limit))) : processors;
}

}  // namespace ck
