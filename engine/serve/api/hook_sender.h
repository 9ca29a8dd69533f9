// Sends messages to webhooks by libcurl, in a thread of its own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "engine/serve/net/asio.h"

namespace wan::serve {

/// What is wrong with a webhook's URL, "must be a URL of http or https, ..."; empty: nothing, as far as the text tells.
std::string wrong_webhook(const std::string& url);
/// "host:port" of a URL, in lower case; empty where it is none.
std::string webhook_host(const std::string& url);

class HookSender {
 public:
  struct Options {
    bool private_urls = true;                 // false: addresses of this machine and its network are not connected to
    std::chrono::milliseconds whole{15'000};  // from the name's look-up to the end of the answer
    std::chrono::milliseconds connect{10'000};
  };
  /// What came of it, on the io_context's thread: an empty text where the target answered 2xx, else why not, without
  /// secrets of the URL.
  using Done = std::function<void(std::string failure)>;

  HookSender(boost::asio::io_context& io, Options options);
  /// What is under way is given up; its `done` is not called.
  ~HookSender();
  HookSender(const HookSender&) = delete;
  HookSender& operator=(const HookSender&) = delete;

  /// POSTs the JSON text. Redirects are not followed. Callers see to it that not too many are under way at once.
  void send(std::string url, std::string body, Done done);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan::serve
