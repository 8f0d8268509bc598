// What control groups allow, read from folders made like the kernel's.
#if defined(__linux__)
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "../../Sources/CKernels/machine/memory.hpp"
#include "../../Sources/CKernels/pool/share.hpp"
#include "check.hpp"

namespace ck::test {
namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::infinity();

/// A folder that is gone with its test.
struct Folder {
  fs::path path;
  Folder() : path(fs::temp_directory_path() / ("groups-" + std::to_string(getpid()))) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text << "\n";
}

std::string whole(double number) { return std::to_string(static_cast<long long>(number)); }

/// States limits of one group, or none.
struct Limits {
  double memory, processors;

  explicit Limits(Random& random)
      : memory(random.chance(0.5) ? 1e6 * random.integer(1, 1 << 20) : kNone),
        processors(random.chance(0.5) ? 0.25 * random.integer(1, 64) : kNone) {}

  void write_v2(const fs::path& group) const {
    write(group / "memory.max", memory < kNone ? whole(memory) : "max");
    write(group / "cpu.max", (processors < kNone ? whole(100000 * processors) : "max") + " 100000");
  }
  void write_v1_memory(const fs::path& group) const {
    // Version 1 writes this for "no limit".
    write(group / "memory.limit_in_bytes", memory < kNone ? whole(memory) : "9223372036854771712");
  }
  void write_v1_cpu(const fs::path& group) const {
    write(group / "cpu.cfs_quota_us", processors < kNone ? whole(50000 * processors) : "-1");
    write(group / "cpu.cfs_period_us", "50000");
  }
};

/// Groups of random depth, of version 1, 2 or both at once: the least of a path counts.
void least_of_all_ancestors_counts(Round& round) {
  Random& random = round.random;
  Folder folder;
  GroupFiles files{folder.path / "fs", folder.path / "own"};
  bool unified = random.chance(0.6), old = !unified || random.chance(0.3);
  // In a container without a namespace of its own, the path is one that is not there.
  bool elsewhere = random.chance(0.3);
  int depth = random.integer(0, 3);
  std::string path;
  double memory = kNone, processors = kNone;
  for (int level = 0; level <= depth; level++) {
    if (level > 0) path += "/group" + std::to_string(random.integer(0, 9)) + ".slice";
    if (elsewhere && level > 0) continue;
    Limits limits(random);
    std::string root = files.root;
    // Only one version has the memory controller, and so with processors.
    bool memory_is_old = old && (!unified || random.chance(0.5));
    if (unified && !memory_is_old) {
      limits.write_v2(root + path);
    } else {
      limits.write_v1_memory(root + "/memory" + path);
      limits.write_v1_cpu(root + "/cpu" + path);
    }
    memory = std::min(memory, limits.memory);
    processors = std::min(processors, limits.processors);
  }
  std::string own = path.empty() ? "/" : path;
  write(files.own, (old ? "12:pids:/elsewhere\n5:memory:" + own + "\n4:cpu,cpuacct:" + own +
                              "\n"
                              "1:name=systemd:/init.scope\n"
                        : "") +
                       (unified ? "0::" + own : ""));
  expect(std::min(group_memory(files), 9e18) == std::min(memory, 9e18),
         text("memory of groups, depth", depth, "unified", unified, "old", old));
  expect(group_processors(files) == processors,
         text("processors of groups, depth", depth, "unified", unified, "old", old));
}

void what_is_no_group_limits_nothing(Round& round) {
  Folder folder;
  GroupFiles files{folder.path / "fs", folder.path / "own"};
  expect(group_memory(files) == kNone && group_processors(files) == kNone, "no files at all");
  for (const char* line : {"", "0", "0:", "0::", "0::relative", ":::::", "5:memory", "\n\n"}) {
    write(files.own, line);
    expect(group_memory(files) == kNone, std::string("the line '") + line + "'");
  }
  write(files.own, "0::/");
  for (const char* content : {"", "many", "max"}) {
    write(fs::path(files.root) / "memory.max", content);
    write(fs::path(files.root) / "cpu.max", content);
    expect(group_memory(files) == kNone && group_processors(files) == kNone,
           std::string("the content '") + content + "'");
  }
}

const Register tests({{"groups_least_of_ancestors", least_of_all_ancestors_counts, 8},
                      {"groups_none", what_is_no_group_limits_nothing}});

}  // namespace
}  // namespace ck::test
#endif
