// The one-way rule: kernels -> models -> engine -> tools; a file includes from its own room and from rooms to the left.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

TEST(Rooms, IncludeOnlyLeftwards) {
  const std::vector<std::string> rooms = {"kernels", "models", "engine", "tools"};
  const std::regex include(R"(^\s*#include [<"](\w+)/)");
  int files = 0;
  for (size_t room = 0; room < rooms.size(); ++room) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::filesystem::path(WAN_SOURCE_DIR) / rooms[room])) {
      if (!entry.is_regular_file()) continue;
      ++files;
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);) {
        if (!std::regex_search(line, match, include)) continue;
        auto to = std::find(rooms.begin(), rooms.end(), match[1]) - rooms.begin();
        EXPECT_TRUE(to == std::ssize(rooms) || to <= int64_t(room)) << entry.path() << ": " << line;
      }
    }
  }
  EXPECT_GT(files, 20);
}
