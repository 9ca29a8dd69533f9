// The lists of slow tests in tests/CMakeLists.txt: a name that no test has would leave that test among the quick ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kTests = WAN_SOURCE_DIR "/tests";

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// "Suite.Name" of every test in the sources of a folder.
std::vector<std::string> tests_of(const fs::path& folder) {
  const std::regex declared(R"(\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\))");
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = text_of(entry.path());
    for (std::sregex_iterator at(text.begin(), text.end(), declared), end; at != end; ++at)
      names.push_back(at->str(1) + "." + at->str(2));
  }
  return names;
}

/// Whether a test has this name, of which a * at the end stands for any.
bool is_one_of(const std::vector<std::string>& tests, const std::string& name) {
  const bool open = name.ends_with("*");
  const std::string begin = open ? name.substr(0, name.size() - 1) : name;
  return std::any_of(tests.begin(), tests.end(),
                     [&](const std::string& test) { return open ? test.starts_with(begin) : test == name; });
}

TEST(SlowTests, EachNameIsThatOfATest) {
  const std::string lists = text_of(kTests / "CMakeLists.txt");
  const std::regex list(R"(set\(WAN_SLOW_(\w+)\s([^)]*)\))");
  int rooms = 0;
  for (std::sregex_iterator at(lists.begin(), lists.end(), list), end; at != end; ++at, ++rooms) {
    const std::vector<std::string> tests = tests_of(kTests / at->str(1));
    std::istringstream words(at->str(2));
    int names = 0;
    for (std::string name; words >> name; ++names)
      EXPECT_TRUE(is_one_of(tests, name)) << "no test of tests/" << at->str(1) << " is called " << name;
    EXPECT_GT(names, 0) << at->str(1);
  }
  EXPECT_EQ(rooms, 4) << "models, engine, tools, serve";
}

}  // namespace
