// A request under another path: what the proxy path hands on.
#pragma once

#include <string>
#include <utility>

#include "engine/serve/net/exchange.h"
#include "engine/serve/net/target.h"

namespace wan::serve {

/// Everything but path and query is that of the request behind it.
class Forwarded final : public Exchange {
 public:
  Forwarded(Exchange& of, Target target) : of_(of), target_(std::move(target)) {}

  const std::string& method() const override { return of_.method(); }
  const std::string& path() const override { return target_.path; }
  const std::vector<std::string>& segments() const override { return target_.segments; }
  const std::map<std::string, std::string>& query() const override { return target_.query; }
  std::optional<std::string_view> header(std::string_view name) const override { return of_.header(name); }
  std::string base_url() const override { return of_.base_url(); }
  std::string peer() const override { return of_.peer(); }
  bool peer_is_loopback() const override { return of_.peer_is_loopback(); }
  bool is_tls() const override { return of_.is_tls(); }
  std::optional<uint64_t> content_length() const override { return of_.content_length(); }
  Awaitable<std::string> read_body(uint64_t most, Admit admit) override {
    return of_.read_body(most, std::move(admit));
  }
  Awaitable<uint64_t> save_body(const std::filesystem::path& path, uint64_t most) override {
    return of_.save_body(path, most);
  }
  Awaitable<void> gone() override { return of_.gone(); }

 private:
  Exchange& of_;
  Target target_;
};

}  // namespace wan::serve
