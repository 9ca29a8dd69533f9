// The image's files, as text: what goes into it, and what stays. Nothing is built.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

const std::filesystem::path kSource = WAN_SOURCE_DIR;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

/// The Dockerfile's instructions of each stage, continued lines joined, comments left out.
std::vector<std::vector<std::string>> stages() {
  std::vector<std::vector<std::string>> stages;
  bool continues = false;
  for (std::string line : lines_of(content(kSource / "Dockerfile"))) {
    if (line[0] == '#') continue;
    const bool goes_on = line.back() == '\\';
    if (goes_on) line.pop_back();
    if (continues)
      stages.back().back() += line;
    else if (line.starts_with("FROM "))
      stages.push_back({line});
    else
      stages.back().push_back(line);
    continues = goes_on;
  }
  return stages;
}

/// The instructions of a stage that begin with `word`, without it.
std::vector<std::string> all(const std::vector<std::string>& stage, const std::string& word) {
  std::vector<std::string> found;
  for (const std::string& line : stage)
    if (line.starts_with(word + " ")) found.push_back(line.substr(word.size() + 1));
  return found;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Docker, WhatACheckoutCollectsStaysOutside) {
  const std::vector<std::string> ignored = lines_of(content(kSource / ".dockerignore"));
  const auto is_ignored = [&](const std::string& name) {
    return std::ranges::count(ignored, name) + std::ranges::count(ignored, "**/" + name) > 0;
  };
  EXPECT_TRUE(is_ignored(".git"));
  std::vector<std::string> ours = lines_of(content(kSource / ".gitignore"));
  ASSERT_GE(ours.size(), 5u);
  for (std::string name : ours) {
    if (name.starts_with('/')) name.erase(0, 1);
    if (name.ends_with('/')) name.pop_back();
    EXPECT_TRUE(is_ignored(name)) << name << " is no source, and COPY . . would take it along";
  }
}

TEST(Docker, WhatRunsHasNoCompilersTestsAndSources) {
  const auto two = stages();
  ASSERT_EQ(two.size(), 2u);
  const std::vector<std::string>& built = two[0];
  const std::vector<std::string>& runs = two[1];
  EXPECT_EQ(built[0], "FROM debian:12 AS build");
  EXPECT_EQ(runs[0], "FROM debian:12") << "libraries of the first are those of the second";
  for (const std::string& from : all(runs, "COPY")) EXPECT_TRUE(from.starts_with("--from=build ")) << from;
  for (const std::string& step : all(runs, "RUN"))
    for (const char* part : {"g++", "gcc", "cmake", "ninja", "python3", "./run"})
      EXPECT_FALSE(holds(step, part)) << step;
}

TEST(Docker, ProgramsLieWhereTheyWereBuiltBesideTheirLibraries) {
  const auto two = stages();
  ASSERT_EQ(two.size(), 2u);
  const std::string build = all(two[0], "RUN").at(0), run = content(kSource / "run");
  const std::string words = "./run --cuda build --all ";
  const size_t at = build.find(words);
  ASSERT_NE(at, std::string::npos) << build;
  std::istringstream targets(build.substr(at + words.size(), build.find("&&", at) - at - words.size()));
  std::string copied;
  for (const std::string& from : all(two[1], "COPY")) copied += from + " ";
  int count = 0;
  for (std::string target; targets >> target; ++count)
    EXPECT_TRUE(holds(copied, "/opt/wan-infer/build/cuda/tools/" + target + " ")) << target << " is not copied";
  EXPECT_EQ(count, 7);
  // Where ./run puts them.
  EXPECT_TRUE(holds(run, "deps=${WAN_DEPS:-$root/.deps}") && holds(run, "\"$deps/venv\"") &&
              holds(run, "build=$root/build/$preset") && holds(run, "--cuda) preset=cuda"));
  EXPECT_EQ(all(two[0], "WORKDIR").at(0), "/opt/wan-infer");
  for (const char* part : {"torch/lib", "nvidia"}) {
    const std::string path = std::string("/opt/wan-infer/.deps/venv/lib/python3.11/site-packages/") + part;
    EXPECT_TRUE(holds(copied, path + " " + path + " ")) << "the same path on both sides";
  }
  EXPECT_EQ(all(two[1], "ENTRYPOINT").at(0), "[\"/opt/wan-infer/build/cuda/tools/wan-infer\"]");
}

TEST(Docker, TheCardIsAskedForAndTheCacheOutlivesTheContainer) {
  const std::vector<std::string> runs = stages().at(1);
  std::string environment;
  for (const std::string& line : all(runs, "ENV")) environment += " " + line;
  for (const char* part :
       {" NVIDIA_VISIBLE_DEVICES=all", " NVIDIA_DRIVER_CAPABILITIES=compute,utility", " XDG_CACHE_HOME=/cache"})
    EXPECT_TRUE(holds(environment, part)) << environment;
  EXPECT_EQ(all(runs, "VOLUME").at(0), "/cache");
  const auto place_of = [&](const std::string& line) { return std::ranges::find(runs, line) - runs.begin(); };
  EXPECT_LT(place_of("RUN install -d -m 1777 /cache"), place_of("VOLUME /cache"))
      << "what is done to it behind VOLUME is lost";
  EXPECT_TRUE(holds(content(kSource / "docs/cards.md"), "-v wan-cache:/cache")) << "the documented command keeps it";
}

}  // namespace
}  // namespace wan
