#include "engine/serve/net/answer.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <cstdio>
#include <ctime>
#include <stdexcept>

#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

bool sendable(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
  });
}

/// Headers that only the connection can know.
bool belongs_to_connection(std::string_view name) {
  for (std::string_view own : {"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date"}) {
    if (same_word(name, own)) return true;
  }
  return false;
}

void append(std::string& text, std::string_view name, std::string_view value) {
  if (!is_token(name) || !sendable(value)) {
    throw std::logic_error("header \"" + std::string(is_token(name) ? name : "?") + "\" of an answer cannot be sent");
  }
  text.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

Answer json_answer(const nlohmann::ordered_json& body, int status, std::vector<Header> headers) {
  return {.status = status,
          .body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
          .headers = std::move(headers)};
}

Answer error_answer(int status, const std::string& detail, const std::string& error_type) {
  return json_answer({{"detail", detail}, {"error_type", error_type}}, status, {{"X-Fal-Error-Type", error_type}});
}

Answer internal_error() {
  return error_answer(500, "Internal server error", "internal_error");
}

bool has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::string answer_head(const Answer& answer, const Framing& framing, std::string_view date) {
  if (answer.status < 200 || answer.status > 599) {
    throw std::logic_error("status " + std::to_string(answer.status) + " of an answer does not exist");
  }
  if (answer.file && answer.file->begin > answer.file->end) {
    throw std::logic_error("a part of a file ends before it begins");
  }
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(answer.status));
  std::string text;
  text.reserve(256 + (answer.file || answer.events ? 0 : answer.body.size()));
  text.append("HTTP/1.1 ").append(std::to_string(answer.status)).append(" ");
  text.append(reason.data(), reason.size()).append("\r\n");
  append(text, "Date", date);
  if (has_body(answer.status)) {
    if (!answer.type.empty()) append(text, "Content-Type", answer.type);
    if (answer.events) {
      if (framing.version >= 11) append(text, "Transfer-Encoding", "chunked");
    } else {
      const uint64_t length = answer.file ? answer.file->end - answer.file->begin : answer.body.size();
      append(text, "Content-Length", std::to_string(length));
    }
  }
  bool caching = false, sniffing = false;
  for (const auto& [name, value] : answer.headers) {
    if (belongs_to_connection(name) || (same_word(name, "Content-Type") && !answer.type.empty())) continue;
    caching |= same_word(name, "Cache-Control");
    sniffing |= same_word(name, "X-Content-Type-Options");
    append(text, name, value);
  }
  if (!sniffing) append(text, "X-Content-Type-Options", "nosniff");
  if (!caching) append(text, "Cache-Control", "no-store");
  if (!framing.keep_alive) {
    append(text, "Connection", "close");
  } else if (framing.version < 11) {
    append(text, "Connection", "keep-alive");
  }
  text.append("\r\n");
  return text;
}

const std::string& DateText::now() {
  const std::time_t second = std::time(nullptr);
  if (second == second_) return text_;
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm at{};
  gmtime_r(&second, &at);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                kDays.at(static_cast<size_t>(at.tm_wday)), at.tm_mday, kMonths.at(static_cast<size_t>(at.tm_mon)),
                at.tm_year + 1900, at.tm_hour, at.tm_min, at.tm_sec);
  second_ = second;
  text_ = text.data();
  return text_;
}

}  // namespace wan::serve
