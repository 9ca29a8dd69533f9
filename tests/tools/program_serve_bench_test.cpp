// `wan-bench serve` as a user calls it, with numbers that are far too small to mean something: each row is there and whole,
// and one that cannot be measured says so.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Outcome run(const fs::path& folder, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"serve",  "--data",   "data",   "--seconds", "3",         "--clients", "4",
                                    "--rate", "50",       "--idle", "5",         "--streams", "2",         "--jobs",
                                    "100",    "--starts", "2",      "--size",    "1MiB",      "--json",    "a.json"};
  words.insert(words.end(), more.begin(), more.end());
  return Process("wan-bench", words, folder).finish();
}

/// The row that has this name and this beginning of its setting.
json row_of(const json& report, const std::string& name, const std::string& setting = "") {
  for (const json& row : report["rows"])
    if (row["name"] == name && row["setting"].get<std::string>().starts_with(setting)) return row;
  ADD_FAILURE() << "no row " << name << " " << setting << " in " << report.dump(1);
  return json::object();
}

TEST(ProgramServeBench, EachRowIsWhole) {
  const TemporaryFolder folder;
  const Outcome outcome = run(folder.path(), {});
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  const json report = json::parse(content(folder / "a.json"));
  EXPECT_EQ(report["kind"], "serve");
  for (const char* key : {"cpu", "cores", "kernel", "file_system", "sync_ms", "pinned"})
    EXPECT_FALSE(report["environment"].value(key, "").empty()) << key;
  ASSERT_EQ(report["rows"].size(), 7u) << report.dump(1);
  ASSERT_EQ(report["left_out"].size(), 1u);
  EXPECT_EQ(report["left_out"][0]["name"], "mock");

  const std::vector<std::string> load = {"per_second", "p50_ms", "p99_ms", "most_ms", "load_cores", "server_cores"};
  std::vector<std::string> status = load, submit = load;
  status.insert(status.end(), {"stream_messages", "worker_cores"});
  submit.insert(submit.end(), {"accepted", "lost_by_kill"});
  const std::vector<std::string> start = {"median_ms", "p10_ms", "p90_ms", "runs"};
  const struct {
    std::string name, setting;
    std::vector<std::string> figures;
  } rows[] = {
      {"status", "4 clients, 5 idle connections, 2 streams", status},
      {"status at a pace", "4 clients, 50 calls a second, 5 idle connections, 2 streams", status},
      {"submit", "4 clients", submit},
      {"memory",
       "100 ended jobs",
       {"rss_mb", "peak_rss_mb", "rss_empty_mb", "rss_started_again_mb", "jobs_per_second"}},
      {"start", "an empty queue", start},
      {"start", "100 ended jobs", start},
      {"upload", "1 MiB", {"mb_per_second", "dd_mb_per_second", "over_dd", "rss_before_mb", "peak_rss_mb"}},
  };
  for (const auto& want : rows) {
    SCOPED_TRACE(want.name + ", " + want.setting);
    const json row = row_of(report, want.name, want.setting);
    EXPECT_FALSE(row.contains("failed")) << row.dump();
    EXPECT_FALSE(row.value("note", "").empty());
    for (const std::string& name : want.figures) {
      ASSERT_TRUE(row["figures"].contains(name)) << name << row.dump();
      // Of so short a load the system's clock of processes may have seen nothing.
      const bool may_be_nothing = name.ends_with("_cores") || name == "lost_by_kill";
      EXPECT_GE(row["figures"][name], 0) << name;
      EXPECT_TRUE(may_be_nothing || row["figures"][name] > 0) << name << row.dump();
    }
    EXPECT_NE(outcome.out.find("| " + want.name + " | " + want.setting), std::string::npos) << outcome.out;
  }
  const json submits = row_of(report, "submit")["figures"], paced = row_of(report, "status at a pace")["figures"];
  EXPECT_EQ(submits["lost_by_kill"], 0);
  EXPECT_LE(paced["per_second"], 62)
      << "no more than are due are asked: 31 with those of the warm-up, in half a second";
  EXPECT_EQ(row_of(report, "start")["figures"]["runs"], 2);
  EXPECT_TRUE(fs::is_empty(folder / "data")) << "the folder is left as it was";
}

TEST(ProgramServeBench, ARowThatCannotBeMeasuredSaysSo) {
  const TemporaryFolder folder;
  {
    std::ofstream worker(folder / "worker");  // takes jobs, and fails each of them
    worker
        << "#!/bin/sh\n"
           "echo '{\"is\":\"ready\",\"device\":\"none\",\"pid\":1}'\n"
           "while read -r line; do\n"
           "  case $line in *render*) ;; *) exit 0 ;; esac\n"
           "  id=$(printf '%s' \"$line\" | sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/')\n"
           "  echo \"{\\\"is\\\":\\\"begun\\\",\\\"job\\\":\\\"$id\\\"}\"\n"
           "  echo \"{\\\"is\\\":\\\"failed\\\",\\\"job\\\":\\\"$id\\\",\\\"kind\\\":\\\"machine\\\",\\\"errors\\\":[],"
           "\\\"text\\\":\\\"no\\\"}\"\n"
           "done\n";
  }
  fs::permissions(folder / "worker", fs::perms::owner_all);
  std::ofstream(folder / "mock.py") << "";
  const Outcome outcome = run(folder.path(), {"--worker", "worker", "--python", "/bin/false", "--mock", "mock.py",
                                              "status", "memory", "upload", "mock"});
  EXPECT_EQ(outcome.code, 1) << outcome.out << outcome.err;
  const json report = json::parse(content(folder / "a.json"));
  const std::pair<const char*, const char*> failed[] = {
      {"status", "COMPLETED"}, {"memory", "some failed"}, {"mock", "must import fastapi and uvicorn"}};
  for (const auto& [name, why] : failed) {
    const json row = row_of(report, name);
    EXPECT_NE(row.value("failed", "").find(why), std::string::npos) << row.dump();
    EXPECT_TRUE(row["figures"].empty()) << row.dump();
    EXPECT_NE(outcome.out.find("\nfailed: " + std::string(name) + ": "), std::string::npos) << outcome.out;
  }
  EXPECT_FALSE(row_of(report, "upload").contains("failed")) << "the others go on";
  EXPECT_EQ(report["rows"].size(), 4u);
  EXPECT_TRUE(fs::is_empty(folder / "data"));
}

TEST(ProgramServeBench, AFailedRowSaysHowTheServerEnded) {
  const TemporaryFolder folder;
  {
    std::ofstream worker(folder / "worker");
    worker << "#!/bin/sh\n"
              "echo '{\"is\":\"ready\",\"device\":\"none\",\"pid\":1}'\n"
              "read -r line && kill -9 $PPID\n";
  }
  fs::permissions(folder / "worker", fs::perms::owner_all);
  const Outcome outcome = run(folder.path(), {"--worker", "worker", "status"});
  EXPECT_EQ(outcome.code, 1) << outcome.out << outcome.err;
  const json row = row_of(json::parse(content(folder / "a.json")), "status");
  EXPECT_NE(row.value("failed", "").find("wan-serve was ended by signal 9; it said: "), std::string::npos)
      << row.dump();
}

TEST(ProgramServeBench, WhatIsMissingIsToldAtOnce) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& words, const std::string& why) {
    const Outcome outcome = Process("wan-bench", words, folder.path()).finish();
    EXPECT_EQ(outcome.code, 2) << outcome.out << outcome.err;
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
  };
  refused({"serve"}, "--data");
  refused({"serve", "--data", "data", "speed"}, "speed");
  refused({"serve", "--data", "data", "--worker", "nothing"}, "[worker] must be a program, got nothing");
  refused({"serve", "--data", "data", "--size", "1kB"}, "[size] must be 1MiB or above");
  EXPECT_FALSE(fs::exists(folder / "data"));
}

}  // namespace
}  // namespace wan
