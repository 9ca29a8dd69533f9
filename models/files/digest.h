// The digest that tells contents apart: inputs, model files, requests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// SHA-256 of what is added, piece by piece. Throws std::runtime_error where libcrypto refuses.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::string_view bytes);
  /// 64 lower-case hexadecimal digits; once, at the end.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// SHA-256 of the parts one after another, as 64 lower-case hexadecimal digits.
std::string sha256(const std::vector<std::string_view>& parts);

/// What tells one file from another.
struct FileContent {
  uint64_t size = 0;   // bytes
  std::string sha256;  // of all of them
};

/// Reads a whole file, a piece at a time; `read` is told the bytes of each. Throws std::system_error, and what `read`
/// throws.
FileContent content_of_file(const std::filesystem::path& path, const std::function<void(uint64_t bytes)>& read = {});

}  // namespace wan
