// The pre-tokenizer Metaspace: spaces become a visible mark, and the text is cut before each mark.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace wan::text {

class Metaspace {
 public:
  /// Reads both notations, `prepend_scheme` and the older `add_prefix_space`. Throws ModelError where `value` is
  /// another pre-tokenizer or its settings are not understood; `where` is what messages name.
  Metaspace(const nlohmann::json& value, const std::string& where);

  /// The parts of one normalised segment, not empty; `first` says that it begins where the whole text does.
  std::vector<std::string> operator()(std::string_view segment, bool first) const;

 private:
  enum class Prepend { Always, First, Never };

  std::string mark_;
  Prepend prepend_ = Prepend::Always;
  bool split_ = true;
};

}  // namespace wan::text
