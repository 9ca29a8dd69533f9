// The target WAN_FUZZ_TARGET without a fuzzer's engine, for compilers that have none: files as they are, or mutated seeds.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>

#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

namespace {

constexpr const char* kInput = "fuzz-input";  // what was run last, for looking at a crash

void run(const std::string& bytes, const char* what) {
  try {
    wan::fuzz::WAN_FUZZ_TARGET(bytes);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", what, error.what());
    std::abort();
  }
}

}  // namespace

/// PROGRAM FILE... runs these files; PROGRAM [-runs=N] [-seed=N] runs the target's seeds, then N variants (default 100000),
/// of which each is in the file fuzz-input while it runs.
int main(int argc, char** argv) {
#define WAN_TEXT_OF(x) #x
#define WAN_TEXT(x) WAN_TEXT_OF(x)
  long runs = 100000, number = 1;
  bool files = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("-runs=")) {
      runs = std::atol(word.c_str() + 6);
    } else if (word.starts_with("-seed=")) {
      number = std::atol(word.c_str() + 6);
    } else {
      std::ifstream file(word, std::ios::binary);
      if (!file) return std::fprintf(stderr, "[%s] must be a file to run, cannot be read\n", word.c_str()), 2;
      run({std::istreambuf_iterator<char>(file), {}}, word.c_str());
      files = true;
    }
  }
  if (files) return 0;
  const wan::fuzz::Target& target = *wan::fuzz::find_target(WAN_TEXT(WAN_FUZZ_TARGET));
  const auto seeds = wan::fuzz::seeds_of(target);
  for (const std::string& seed : seeds) run(seed, "a seed");
  wan::fuzz::Mutator mutate(static_cast<uint64_t>(number), target.rearrange);
  for (long i = 0; i < runs; ++i) {
    const std::string bytes = mutate(seeds);
    std::ofstream(kInput, std::ios::binary) << bytes;
    run(bytes, kInput);
  }
  std::remove(kInput);
  std::printf("%ld seeds and %ld variants: no fault\n", long(seeds.size()), runs);
}
