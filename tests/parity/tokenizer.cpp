// Prompts, what cleaning makes of them, and their ids: a set of rows for each checkpoint it names.
#include <gtest/gtest.h>

#include <iostream>

#include "models/text/clean/clean.h"
#include "models/text/tokenizer/tokenizer.h"
#include "tests/parity/case.h"

namespace wan::parity {
namespace {

bool takes(const Case& golden) {
  return golden.json.contains("sets") && golden.tensors.empty();
}

void run(Case& golden) {
  int rows = 0;
  for (const auto& set : golden.json["sets"].items()) {
    const std::filesystem::path checkpoint = golden.folder / "checkpoints" / set.key();
    if (!std::filesystem::exists(checkpoint)) {
      std::cout << golden.name << ": set " << set.key() << " is left out, its checkpoint is not here" << std::endl;
      continue;
    }
    const text::Tokenizer tokenizer = text::Tokenizer::open(checkpoint / "google" / "umt5-xxl");
    for (const nlohmann::json& row : set.value()) {
      SCOPED_TRACE(golden.name + ": " + set.key() + ", " + row.value("name", std::to_string(rows)));
      const std::string prompt = row.at("prompt");
      if (row.contains("cleaned")) {
        EXPECT_EQ(text::clean(prompt), row["cleaned"].get<std::string>());
      }
      EXPECT_EQ(tokenizer.encode(prompt), row.at("ids").get<std::vector<int64_t>>());
      ++rows;
    }
  }
  EXPECT_GT(rows, 0) << golden.name << ": no set has its checkpoint here";
}

}  // namespace

const Handler kTokenizer = {"tokenizer", takes, run};

}  // namespace wan::parity
