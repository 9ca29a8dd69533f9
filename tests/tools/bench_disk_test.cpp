#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tools/bench/disk.h"

namespace wan::bench {
namespace {

std::vector<nlohmann::json> rows(const DiskOptions& options) {
  std::stringstream out;
  disk(options, out);
  std::vector<nlohmann::json> read;
  for (std::string line; std::getline(out, line);) read.push_back(nlohmann::json::parse(line));
  return read;
}

}  // namespace

TEST(BenchDisk, MeasuresLoadsBesideDdAndRemovesItsFile) {
  const TemporaryFolder folder;
  DiskOptions options;
  options.size = 3'000'001;
  options.folder = folder.path().string();
  options.runs = 2;
  options.buffer_megabytes = 1;
  const auto all = rows(options);
  ASSERT_EQ(all.size(), 8u);
  for (size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(all[i].dump());
    EXPECT_EQ(all[i]["name"], i % 2 == 0 ? "dd" : i % 4 == 1 ? "load" : "load_as_bf16");
    EXPECT_EQ(all[i]["state"], i < 4 ? "cold" : "warm");
    EXPECT_GT(all[i]["gb_per_s"], 0);
    if (i % 2 == 0) continue;
    EXPECT_EQ(all[i]["ratios"].size(), 2u);
    EXPECT_GT(all[i]["ratio"], 0);
    EXPECT_TRUE(i < 4 || all[i]["direct"] == 0);  // warm: all of it is in memory
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(BenchDisk, NeedsAFile) {
  EXPECT_THROW(rows({}), std::invalid_argument);
  EXPECT_THROW(rows({.file = "/nowhere/at/all"}), std::invalid_argument);
  const TemporaryFolder folder;
  std::ofstream(folder / "small") << "small";
  EXPECT_THROW(rows({.file = (folder / "small").string()}), std::invalid_argument);
}

}  // namespace wan::bench
