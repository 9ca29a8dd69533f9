#include "engine/serve/net/event_writer.h"

#include <array>
#include <charconv>
#include <stdexcept>

#include "engine/serve/net/wire.h"

namespace wan::serve {

Awaitable<bool> EventWriter::send(std::string data, std::string name) {
  if (name.find_first_of("\r\n") != name.npos) throw std::invalid_argument("the name of an event has a line break");
  std::string text;
  text.reserve(data.size() + name.size() + 24);
  if (!name.empty()) text.append("event: ").append(name).append("\n");
  std::string_view rest = data;
  for (;;) {
    const size_t line = std::min(rest.find_first_of("\r\n"), rest.size());
    text.append("data: ").append(rest.substr(0, line)).append("\n");
    if (line == rest.size()) break;
    rest.remove_prefix(line + (rest.substr(line, 2) == "\r\n" ? 2 : 1));
  }
  text.append("\n");
  return put(std::move(text));
}

Awaitable<bool> EventWriter::comment() {
  return put(":\n\n");
}

Awaitable<bool> EventWriter::put(std::string text) {
  if (stops_ || wire_.peer_closed()) co_return false;
  if (chunked_) {
    std::array<char, 16> size{};
    char* const end = std::to_chars(size.data(), size.data() + size.size(), text.size(), 16).ptr;
    text.insert(0, std::string(size.data(), end) + "\r\n");
    text.append("\r\n");
  }
  co_return co_await wire_.write(text);
}

Awaitable<bool> EventWriter::end() {
  if (!chunked_) co_return !wire_.is_broken();
  co_return co_await wire_.write("0\r\n\r\n");
}

}  // namespace wan::serve
