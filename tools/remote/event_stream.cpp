#include "tools/remote/event_stream.h"

#include <stdexcept>

namespace wan::remote {

void EventStream::take(std::string_view piece) {
  constexpr size_t kMost = 16 << 20;
  for (const char letter : piece) {
    const bool second = after_return_ && letter == '\n';  // of \r\n
    after_return_ = letter == '\r';
    if (second) continue;
    if (letter == '\n' || letter == '\r') {
      end_line();
      continue;
    }
    if (line_.size() + data_.size() >= kMost)
      throw std::runtime_error("[server] sends an event of more than 16 MiB; is it a wan-serve?");
    line_ += letter;
  }
}

void EventStream::end_line() {
  std::string line;
  line.swap(line_);
  if (line.empty()) {
    if (!any_data_) return;
    const std::string data = std::move(data_);
    data_.clear();
    any_data_ = false;
    return event_(data);
  }
  const size_t colon = line.find(':');
  if (line.substr(0, colon) != "data") return;  // comments begin with the colon
  std::string value;
  if (colon != std::string::npos) value = line.substr(colon + 1);
  if (value.starts_with(' ')) value.erase(0, 1);
  data_ += (any_data_ ? "\n" : "") + value;
  any_data_ = true;
}

}  // namespace wan::remote
