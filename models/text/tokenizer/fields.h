// Reads the objects of a tokenizer.json so that nothing in them goes unread: every key is taken or is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace wan::text {

/// One object of the file. `where` is what messages name: the file, then the way to the object.
class Fields {
 public:
  /// Throws ModelError where `value` is no object.
  Fields(const nlohmann::json& value, std::string where);

  /// The value of a key, or null where the key is absent.
  const nlohmann::json& take(const std::string& key);
  /// Throw ModelError where the value is of another type, or absent without a fallback.
  std::string text(const std::string& key);
  bool flag(const std::string& key);
  bool flag(const std::string& key, bool fallback);
  int64_t whole_number(const std::string& key);
  const nlohmann::json& list(const std::string& key);
  /// The object under a key.
  Fields object(const std::string& key);

  /// Throws a ModelError that names the first key which was not taken.
  void finish() const;
  [[noreturn]] void fail(const std::string& what) const;
  std::string where(const std::string& key) const { return where_ + (where_.ends_with(':') ? " " : ".") + key; }

 private:
  const nlohmann::json& value_;
  std::string where_;
  std::set<std::string> taken_;
};

}  // namespace wan::text
