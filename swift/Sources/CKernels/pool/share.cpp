#include "share.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#if defined(__linux__)
#include <sched.h>

#include <fstream>
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

#else

int allowed_processors() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }
double quota_v1(const std::string&) { return std::numeric_limits<double>::infinity(); }
double quota_v2(const std::string&) { return std::numeric_limits<double>::infinity(); }

#endif

}  // namespace

double group_processors(const GroupFiles& files) {
  return least_group_limit("cpu", quota_v2, quota_v1, files);
}

int machine_share() {
  int processors = std::max(1, allowed_processors());
  double limit = group_processors();
  return limit < processors ? std::max(1, static_cast<int>(std::lround(limit))) : processors;
}

}  // namespace ck
