#include "engine/serve/net/request_exchange.h"

#include <exception>

#include "engine/serve/net/new_file.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/net/server.h"
#include "engine/serve/net/wire.h"

namespace wan::serve {

RequestExchange::RequestExchange(std::shared_ptr<Wire> wire, RequestParser& parser, RequestBody& body,
                                 const NetOptions& options, Pool& pool)
    : wire_(std::move(wire)),
      head_(parser.head()),
      body_(body),
      options_(options),
      pool_(pool),
      target_(parse_target(head_.method, head_.target)) {}

std::string RequestExchange::base_url() const {
  if (!options_.public_url.empty()) return options_.public_url;
  const std::string scheme = is_tls() ? "https://" : "http://";
  const std::optional<std::string_view> host = header("Host");
  if (host && !host->empty()) return scheme + std::string(*host);
  ErrorCode gone;
  const auto here = wire_->link().socket().local_endpoint(gone);
  const std::string address = plain_address(here.address()).to_string();
  return scheme + (address.find(':') == address.npos ? address : "[" + address + "]") + ":" +
         std::to_string(here.port());
}

std::string RequestExchange::peer() const {
  return wire_->peer().to_string();
}

bool RequestExchange::peer_is_loopback() const {
  return wire_->peer().is_loopback();
}

bool RequestExchange::is_tls() const {
  return wire_->link().is_tls();
}

Awaitable<std::string> RequestExchange::read_body(uint64_t most, Admit admit) {
  body_.admit(most);
  if (admit && body_.length()) std::exchange(admit, {})(*body_.length());
  co_await body_.begin();
  std::string text;
  for (;;) {
    const std::string_view piece = co_await body_.piece(1);
    if (piece.empty()) break;
    RequestBody::check_length(text.size() + piece.size(), most);
    if (admit) admit(text.size() + piece.size());
    text.append(piece);
  }
  co_return text;
}

Awaitable<uint64_t> RequestExchange::save_body(const std::filesystem::path& path, uint64_t most) {
  body_.admit(most);
  NewFile file(path);
  uint64_t length = 0;
  std::exception_ptr failure;
  try {
    co_await pool_.run([&file] { file.create(); });
    co_await body_.begin();
    for (;;) {
      const std::string_view piece = co_await body_.piece(RequestBody::kPiece / 2);
      if (piece.empty()) break;
      length += piece.size();
      RequestBody::check_length(length, most);
      co_await pool_.run([&] { file.write(piece); });
    }
    co_await pool_.run([&file] { file.keep(); });
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    co_await pool_.run([&file] { file.remove(); });  // of a large file it takes its time
    std::rethrow_exception(failure);
  }
  co_return length;
}

Awaitable<void> RequestExchange::gone() {
  if (!watch_) watch_ = std::make_unique<GoneWatch>(wire_);
  return watch_->wait();
}

}  // namespace wan::serve
