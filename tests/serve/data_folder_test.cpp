// What a data folder may hold before there is a database in it.
#include "engine/serve/data_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "models/files/scratch_folder.h"

namespace wan::serve {
namespace {

/// What it is refused with; empty where it is taken. `files` lie in it.
std::string refusal_with(const std::vector<std::string>& files) {
  const ScratchFolder folder;
  for (const std::string& name : files) std::ofstream(folder.path / name) << "x";
  try {
    prepare_data_folder(folder.path);
  } catch (const InvalidRequest& invalid) {
    return invalid.errors.at(0).wrong;
  }
  return {};
}

// The way out of a damaged database: it and its -wal file are moved away.
TEST(DataFolder, IsTakenWhereItsDatabaseWasMovedAway) {
  EXPECT_EQ(refusal_with({"jobs.sqlite-shm", "clock", "prices.json", "certificate.pem"}), "");
  const std::string wal = refusal_with({"jobs.sqlite-wal"});
  EXPECT_NE(wal.find("move this file away, too"), std::string::npos) << wal;
}

// The first start with --tls-self-signed makes the certificate before the database.
TEST(DataFolder, IsTakenWhereTheFirstStartEndedEarly) {
  EXPECT_EQ(refusal_with({"certificate.pem"}), "");
  EXPECT_EQ(refusal_with({"certificate.pem.part", ".probe-12"}), "");
}

TEST(DataFolder, OfSomethingElseIsRefused) {
  for (const char* name : {"letter.txt", "letter.part", "certificate", "clock.txt"})
    EXPECT_NE(refusal_with({name}).find("name another folder"), std::string::npos) << name;
}

}  // namespace
}  // namespace wan::serve
