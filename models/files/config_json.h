// Reading a config.json that may come from anyone: bounded, flat, and wrong in one line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// A config.json and the words for what is wrong with it. Every accessor throws ModelError, which names file, key, what
/// is wanted and what came.
class ConfigJson {
 public:
  /// Reads an object of at most 1 MB (read_json).
  static ConfigJson read(const std::filesystem::path& file);
  ConfigJson(nlohmann::json json, std::string label);

  const nlohmann::json& json() const { return json_; }
  const std::string& label() const { return label_; }

  int64_t size(const char* key, int64_t least, int64_t most) const;
  /// A list of 1 to `longest` integers from `least` to `most`.
  std::vector<int64_t> sizes(const char* key, size_t longest, int64_t least, int64_t most) const;
  /// A number above 0 and below 1.
  double epsilon(const char* key) const;
  /// Checks that `key` is `want`: the switches whose other positions this program does not know.
  void expect(const char* key, const nlohmann::json& want) const;
  /// Throws `[label] relation` unless it holds.
  void require(bool holds, std::string_view relation) const;

 private:
  const nlohmann::json& member(const char* key) const;
  [[noreturn]] void wrong(const char* key, const std::string& wanted) const;

  nlohmann::json json_;
  std::string label_;
};

}  // namespace wan
