// Reads a request from bytes: Beast's parser, with its bodies decoded in place, and what it lets pass refused.
#pragma once

#include "engine/serve/net/asio.h"

#include <boost/beast/http/basic_parser.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wan::serve {

/// What a request's head says. Views hold as long as it does.
class RequestHead {
 public:
  std::string method, target;
  int version = 11;  // 10 or 11

  void add(std::string_view name, std::string_view value);
  /// The first of this name.
  std::optional<std::string_view> find(std::string_view name) const;
  size_t count(std::string_view name) const;

 private:
  struct Field {
    uint32_t name = 0, name_size = 0, value = 0, value_size = 0;  // in text_
  };
  std::string_view part(uint32_t begin, uint32_t size) const { return std::string_view(text_).substr(begin, size); }

  std::string text_;
  std::vector<Field> fields_;
};

/// Throws HttpError 400 for heads that servers understand in different ways, and 417 for what cannot be expected of this
/// one: Host that is absent, double or no host; Content-Length that comes twice or beside Transfer-Encoding;
/// Transfer-Encoding other than "chunked", or in HTTP/1.0.
void check_head(const RequestHead& head);

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  using Error = boost::beast::error_code;
  /// `most_head`: bytes that a head may have in one piece; the caller counts those that come in several.
  explicit RequestParser(uint32_t most_head);

  const RequestHead& head() const { return head_; }
  /// Where the next bytes of the body are put: at or before those that are given to put().
  void decode_to(char* place) { place_ = place; }
  /// The end of what was put there.
  char* decoded_end() const { return place_; }

 private:
  using Text = boost::beast::string_view;
  void on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Error&) override;
  void on_response_impl(int, Text, int, Error&) override {}
  void on_field_impl(boost::beast::http::field, Text name, Text value, Error&) override;
  void on_header_impl(Error&) override { in_head_ = false; }
  void on_body_init_impl(const boost::optional<uint64_t>&, Error&) override {}
  size_t on_body_impl(Text body, Error&) override;
  void on_chunk_header_impl(uint64_t, Text, Error&) override {}
  size_t on_chunk_body_impl(uint64_t, Text body, Error&) override;
  void on_finish_impl(Error&) override {}

  RequestHead head_;
  bool in_head_ = true;  // fields that follow a chunked body are dropped
  char* place_ = nullptr;
};

}  // namespace wan::serve
