// Every fuzz target on its seeds and on many variants of them: it answers, and does not take memory without bound.
// Looking for faults for hours is the work of the programs of the preset `fuzz` (docs/fuzzing.md).
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <set>

#include "models/files/error.h"
#include "models/files/scratch_folder.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {
namespace {

constexpr int kVariants = 1500;

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

/// What escaped from the target; empty where it answered.
std::string fault(const Target& target, std::string_view bytes) {
  try {
    target.run(bytes);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

class EveryTarget : public testing::TestWithParam<Target> {};

std::string name_of(const testing::TestParamInfo<Target>& info) {
  return info.param.name;
}

}  // namespace

TEST_P(EveryTarget, AnswersToItsSeedsAndToVariants) {
  const Target& target = GetParam();
  const std::vector<std::string> seeds = seeds_of(target);
  for (size_t i = 0; i < seeds.size(); ++i) EXPECT_EQ(fault(target, seeds[i]), "") << "seed " << i;
  EXPECT_EQ(fault(target, ""), "");
  const double before = peak_megabytes();
  Mutator mutate(2026, target.rearrange);
  for (int i = 0; i < kVariants; ++i) ASSERT_EQ(fault(target, mutate(seeds)), "") << "variant " << i;
  EXPECT_LT(peak_megabytes() - before, target.megabytes);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, EveryTarget, testing::ValuesIn(targets()), name_of);

TEST(Fuzz, VariantsAreManyAndAlwaysTheSame) {
  const std::vector<std::string> seeds = {"one two three four five six", "seven eight nine ten", ""};
  std::set<std::string> seen;
  Mutator first(3), second(3);
  for (int i = 0; i < 500; ++i) {
    const std::string variant = first(seeds);
    EXPECT_EQ(variant, second(seeds));
    seen.insert(variant);
  }
  EXPECT_GT(seen.size(), 400u);
}

/// The variants of quantised files get as far as the values of their tensors, and as far as the joining of scales.
TEST(Fuzz, RearrangedVariantsReachScalesAndValues) {
  const Target& target = *find_target("quantised");
  const std::vector<std::string> seeds = seeds_of(target);
  Mutator mutate(2026, target.rearrange);
  int loaded = 0, about_scales = 0;
  for (int i = 0; i < kVariants; ++i) {
    const MemoryFile file(mutate(seeds));
    try {
      read_values(Checkpoint::open(file.path()));
      ++loaded;
    } catch (const ModelError& error) {
      about_scales += std::string(error.what()).find("scale") != std::string::npos;
    }
  }
  EXPECT_GT(loaded, kVariants / 10);
  EXPECT_GT(about_scales, kVariants / 10);
}

TEST(Fuzz, AFileMayHaveAName) {
  const ScratchFolder folder;
  const MemoryFile one("one"), two("two");
  for (const MemoryFile* file : {&one, &two}) file->put(folder.path / "name.json");
  EXPECT_EQ(MappedFile::open(folder.path / "name.json")->bytes(), "two");
}

TEST(Fuzz, AnAnswerEndsHereAndAFaultDoesNot) {
  answer([] { throw ModelError("file", "must be another"); });
  EXPECT_THROW(answer([] { throw std::out_of_range("at"); }), std::out_of_range);
}

TEST(Fuzz, AFileInMemoryIsReadAsOneOnADisk) {
  const MemoryFile file("some bytes");
  EXPECT_EQ(MappedFile::open(file.path())->bytes(), "some bytes");
  EXPECT_THROW(seeds_of({"none", nullptr, {"tests/fuzz/seeds/json/*.absent"}}), std::runtime_error);
}

}  // namespace wan::fuzz
