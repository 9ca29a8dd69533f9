// A machine in a user's words: --gpu, --host, --link and --disk.
#pragma once

#include <string>

namespace wan {

/// Empty ones say nothing.
struct MachineWords {
  std::string gpu = {};   // "24GB", "24GiB", or a name: "4090", "H100"
  std::string host = {};  // "32GB": available host memory
  std::string link = {};  // "25GB/s"
  std::string disk = {};  // "3GB/s"
  bool any() const { return !gpu.empty() || !host.empty() || !link.empty() || !disk.empty(); }
};

/// Throws InvalidRequest that names every bad word (fields gpu, host, link and disk) with what is wanted.
void check_words(const MachineWords& words);

}  // namespace wan
