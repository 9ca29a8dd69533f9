// A request that a test made up, for handlers that only look at its head.
#pragma once

#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

class ApiExchange final : public Exchange {
 public:
  std::string method_text = "GET", path_text = "/", base = "http://127.0.0.1:8000";
  std::vector<std::string> path_segments;
  std::map<std::string, std::string> parameters, headers;
  std::string body;
  bool leaves = true;  // the client closes its side at once

  const std::string& method() const override { return method_text; }
  const std::string& path() const override { return path_text; }
  const std::vector<std::string>& segments() const override { return path_segments; }
  const std::map<std::string, std::string>& query() const override { return parameters; }
  std::optional<std::string_view> header(std::string_view name) const override {
    const auto found = headers.find(std::string(name));
    return found == headers.end() ? std::nullopt : std::optional<std::string_view>(found->second);
  }
  std::string base_url() const override { return base; }
  std::string peer() const override { return "127.0.0.1"; }
  bool peer_is_loopback() const override { return true; }
  bool is_tls() const override { return false; }
  std::optional<uint64_t> content_length() const override { return body.size(); }
  Awaitable<std::string> read_body(uint64_t, Admit) override { co_return body; }
  Awaitable<uint64_t> save_body(const std::filesystem::path& path, uint64_t most) override {
    if (body.size() > most) throw HttpError(Answer{.status = 413});
    std::ofstream(path, std::ios::binary) << body;
    co_return body.size();
  }
  Awaitable<void> gone() override {
    if (!leaves) throw boost::system::system_error(boost::asio::error::operation_aborted);
    co_return;
  }
};

}  // namespace wan::serve
