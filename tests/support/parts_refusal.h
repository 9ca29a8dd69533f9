// What tests of a model's parts ask: what find_parts says of a request.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/residency/find_parts.h"
#include "models/files/error.h"

namespace wan {

/// What a request is refused with; "accepted" where find_parts takes it.
inline std::string refusal(const Request& asked) {
  try {
    find_parts(asked);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

/// The refusal is one line, has all of the words, and says no path of a temporary folder.
inline void expect_refused(const Request& asked, const std::vector<std::string>& words) {
  const std::string why = refusal(asked);
  for (const std::string& word : words) EXPECT_NE(why.find(word), std::string::npos) << word << "\n" << why;
  EXPECT_EQ(why.find('\n'), std::string::npos) << why;
  EXPECT_EQ(why.find(std::filesystem::temp_directory_path().string() + "/"), std::string::npos)
      << "names only: " << why;
}

}  // namespace wan
