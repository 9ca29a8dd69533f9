// A request without a connection, for tests of what looks at its head.
#pragma once

#include <strings.h>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

class PlainExchange : public Exchange {
 public:
  PlainExchange(std::string method, std::string path, std::vector<Header> headers = {})
      : method_(std::move(method)), path_(std::move(path)), headers_(std::move(headers)) {
    for (size_t at = 1; at < path_.size();) {
      const size_t end = std::min(path_.find('/', at), path_.size());
      if (end > at) segments_.push_back(path_.substr(at, end - at));
      at = end + 1;
    }
  }

  const std::string& method() const override { return method_; }
  const std::string& path() const override { return path_; }
  const std::vector<std::string>& segments() const override { return segments_; }
  const std::map<std::string, std::string>& query() const override { return query_; }
  std::optional<std::string_view> header(std::string_view name) const override {
    for (const auto& [known, value] : headers_)
      if (known.size() == name.size() && strncasecmp(known.data(), name.data(), name.size()) == 0) return value;
    return std::nullopt;
  }
  std::string base_url() const override { return "http://localhost:8000"; }
  std::string peer() const override { return loopback ? "127.0.0.1" : "192.0.2.7"; }
  bool peer_is_loopback() const override { return loopback; }
  bool is_tls() const override { return tls; }
  std::optional<uint64_t> content_length() const override { return 0; }
  Awaitable<std::string> read_body(uint64_t, Admit) override { co_return ""; }
  Awaitable<uint64_t> save_body(const std::filesystem::path&, uint64_t) override { co_return 0; }
  Awaitable<void> gone() override { co_return; }

  bool loopback = true, tls = false;

 private:
  std::string method_, path_;
  std::vector<std::string> segments_;
  std::map<std::string, std::string> query_;
  std::vector<Header> headers_;
};

/// The answer of an HttpError that `call` throws; status 0 where it throws none.
template <typename Call>
Answer refused_by(Call call) {
  try {
    call();
  } catch (const HttpError& error) {
    return error.answer;
  }
  return {.status = 0};
}

inline std::string header_of(const std::vector<Header>& headers, const std::string& name) {
  for (const auto& [known, value] : headers)
    if (known == name) return value;
  return {};
}

}  // namespace wan::serve
