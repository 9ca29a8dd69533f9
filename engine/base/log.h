// What the engine has to say: one event for each stage, with its figures. Programs decide how it looks.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

namespace wan {

/// Receives events such as ("denoise", {"steps": 27, "seconds": 81.2}). Copies are cheap; an empty one is silent.
struct Log {
  using Fields = nlohmann::ordered_json;
  std::function<void(std::string_view event, const Fields& fields)> sink;

  void operator()(std::string_view event, const Fields& fields = Fields::object()) const {
    if (sink) sink(event, fields);
  }
};

}  // namespace wan
