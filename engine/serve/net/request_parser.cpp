#include "engine/serve/net/request_parser.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/serve/net/answer.h"
#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

[[noreturn]] void refuse(const std::string& what, int status = 400) {
  throw HttpError(error_answer(status, what));
}

/// "name", "name:port", "[::1]:port", or nothing.
bool is_host(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._:[]").find(c) != std::string_view::npos;
  });
}

}  // namespace

void RequestHead::add(std::string_view name, std::string_view value) {
  const auto at = [&] { return static_cast<uint32_t>(text_.size()); };
  Field field{.name = at(), .name_size = static_cast<uint32_t>(name.size())};
  text_.append(name);
  field.value = at();
  field.value_size = static_cast<uint32_t>(value.size());
  text_.append(value);
  fields_.push_back(field);
}

std::optional<std::string_view> RequestHead::find(std::string_view name) const {
  for (const Field& field : fields_) {
    if (same_word(part(field.name, field.name_size), name)) return trimmed(part(field.value, field.value_size));
  }
  return {};
}

size_t RequestHead::count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields_.begin(), fields_.end(), [&](const Field& field) {
    return same_word(part(field.name, field.name_size), name);
  }));
}

void check_head(const RequestHead& head) {
  const size_t hosts = head.count("Host");
  if (hosts > 1) refuse("[Host] must come once, came " + std::to_string(hosts) + " times");
  if (hosts == 0 && head.version >= 11) refuse("[Host] must be there in HTTP/1.1");
  if (hosts == 1 && !is_host(*head.find("Host"))) refuse("[Host] must be a host name or an address, with its port");

  const size_t lengths = head.count("Content-Length"), encodings = head.count("Transfer-Encoding");
  if (lengths > 1) refuse("[Content-Length] must come once, came " + std::to_string(lengths) + " times");
  if (lengths == 1 && head.find("Content-Length")->find_first_not_of("0123456789") != std::string_view::npos) {
    refuse("[Content-Length] must be one number");
  }
  if (lengths > 0 && encodings > 0) refuse("[Content-Length] must not come with Transfer-Encoding");
  if (encodings > 0 && (encodings > 1 || !same_word(*head.find("Transfer-Encoding"), "chunked"))) {
    refuse("[Transfer-Encoding] must be \"chunked\" or absent");
  }
  if (encodings > 0 && head.version < 11) refuse("[Transfer-Encoding] must not come in HTTP/1.0");

  const std::optional<std::string_view> expect = head.find("Expect");
  if (expect && !same_word(*expect, "100-continue")) refuse("[Expect] must be \"100-continue\" or absent", 417);
}

RequestParser::RequestParser(uint32_t most_head) {
  header_limit(most_head);
  // Handlers say how much they take, not the parser. Not "none": Boost 1.74 takes that for less than any length.
  body_limit(std::numeric_limits<uint64_t>::max());
}

void RequestParser::on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Error&) {
  head_.method = view(method);
  head_.target = view(target);
  head_.version = version;
}

void RequestParser::on_field_impl(boost::beast::http::field, Text name, Text value, Error&) {
  if (in_head_) head_.add(view(name), view(value));
}

size_t RequestParser::on_body_impl(Text body, Error&) {
  if (place_ != body.data()) std::memmove(place_, body.data(), body.size());
  place_ += body.size();
  return body.size();
}

size_t RequestParser::on_chunk_body_impl(uint64_t, Text body, Error& error) {
  return on_body_impl(body, error);
}

}  // namespace wan::serve
