// Server-sent events (text/event-stream), out of pieces as they come.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace wan::remote {

/// Calls `event` with the data of each event. Comments and other fields are skipped; \n, \r\n and \r end a line.
class EventStream {
 public:
  explicit EventStream(std::function<void(const std::string& data)> event) : event_(std::move(event)) {}

  /// Throws std::runtime_error where an event has more than 16 MiB, and what `event` throws.
  void take(std::string_view piece);

 private:
  void end_line();

  std::function<void(const std::string& data)> event_;
  std::string line_, data_;
  bool any_data_ = false, after_return_ = false;
};

}  // namespace wan::remote
