// A request as its handler sees it.
#pragma once

#include <memory>
#include <string>

#include "engine/serve/net/exchange.h"
#include "engine/serve/net/gone_watch.h"
#include "engine/serve/net/request_body.h"
#include "engine/serve/net/request_parser.h"
#include "engine/serve/net/target.h"

namespace wan::serve {

class Pool;
class Wire;
struct NetOptions;

class RequestExchange final : public Exchange {
 public:
  /// Of a head that passed check_head. Throws HttpError 400 where the target is wrong.
  RequestExchange(std::shared_ptr<Wire> wire, RequestParser& parser, RequestBody& body, const NetOptions& options,
                  Pool& pool);

  const std::string& method() const override { return head_.method; }
  const std::string& path() const override { return target_.path; }
  const std::vector<std::string>& segments() const override { return target_.segments; }
  const std::map<std::string, std::string>& query() const override { return target_.query; }
  std::optional<std::string_view> header(std::string_view name) const override { return head_.find(name); }
  std::string base_url() const override;
  std::string peer() const override;
  bool peer_is_loopback() const override;
  bool is_tls() const override;
  std::optional<uint64_t> content_length() const override { return body_.length(); }
  using Exchange::read_body;
  Awaitable<std::string> read_body(uint64_t most, Admit admit) override;
  Awaitable<uint64_t> save_body(const std::filesystem::path& path, uint64_t most) override;
  Awaitable<void> gone() override;

  /// What waits in gone() ends, without having been told that the client left: what began those waits has ended.
  void end_waits() { watch_.reset(); }

 private:
  std::shared_ptr<Wire> wire_;
  const RequestHead& head_;
  RequestBody& body_;
  const NetOptions& options_;
  Pool& pool_;
  Target target_;
  std::unique_ptr<GoneWatch> watch_;
};

}  // namespace wan::serve
