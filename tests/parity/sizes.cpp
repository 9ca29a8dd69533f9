// Sizes that follow an input: the rows of `i2v_sizes` and of `s2v_size`.
#include "engine/request/geometry.h"
#include "tests/parity/case.h"

#include <gtest/gtest.h>

namespace wan::parity {
namespace {

/// Rows of a JSON-only case whose first row has this column.
bool has_column(const Case& golden, const char* column) {
  const nlohmann::json rows = golden.json.value("rows", nlohmann::json::array());
  return !rows.empty() && rows[0].is_object() && rows[0].contains(column);
}

void run_image_sizes(Case& golden) {
  for (const nlohmann::json& row : golden.json.at("rows")) {
    Size size = size_by_area(row.at("image_w"), row.at("image_h"), row.at("max_area"));
    EXPECT_EQ(size, (Size{row.at("width"), row.at("height")})) << golden.name << ": " << row;
  }
}

void run_speech_sizes(Case& golden) {
  for (const nlohmann::json& row : golden.json.at("rows")) {
    Size size = speech_size_by_area(row.at("w"), row.at("h"), row.at("max_area"));
    EXPECT_EQ(size, (Size{row.at("out_w"), row.at("out_h")})) << golden.name << ": " << row;
  }
}

}  // namespace

const Handler kImageSizes = {"image sizes", [](const Case& golden) { return has_column(golden, "image_w"); },
                             run_image_sizes};
const Handler kSpeechSizes = {"speech sizes", [](const Case& golden) { return has_column(golden, "out_w"); },
                              run_speech_sizes};

}  // namespace wan::parity
