// What tests of checkpoint files share: their bytes, and what reading them is refused with.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"

namespace wan {

/// A file's bytes; empty where it is absent.
inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The one line of the ModelError that `call` throws; empty where it throws none.
template <typename Call>
std::string refusal_by(Call call) {
  try {
    call();
  } catch (const ModelError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

/// What opening a checkpoint is refused with: a line that begins with its name and ends in a way out; of a folder, the name
/// may be that of a file in it. Empty where it opens.
inline std::string refusal_of(const std::filesystem::path& path) {
  const std::string words = refusal_by([&] { Checkpoint::open(path); });
  if (words.empty()) return words;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    EXPECT_EQ(words.rfind("[" + shown_name(path.string(), true), 0), 0u) << words;
  }
  EXPECT_NE(words.find("; "), std::string::npos) << "no way out: " << words;
  return words;
}

}  // namespace wan
