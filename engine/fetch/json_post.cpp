#include "engine/fetch/json_post.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <system_error>

#include "engine/fetch/curl_handle.h"
#include "engine/fetch/curl_words.h"

namespace wan {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kPollMilliseconds = 100;  // the longest time until an interrupt is seen
constexpr size_t kMostHeaderBytes = 256 << 10;

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

bool is_this_machine(const std::string& host) {
  const bool loopback = host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
  return host == "localhost" || host.ends_with(".localhost") || loopback || host == "[::1]";
}

std::string size_text(size_t bytes) {
  return bytes % (1 << 20) == 0 ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes) + " bytes";
}

/// One question under way.
class Post {
 public:
  Post(const JsonPost& question, const WebAddress& address, const PostLimits& limits, Progress& progress)
      : address_(address), limits_(limits), progress_(progress) {
    set_up(question);
  }

  PostAnswer run() {
    CURLM* const multi = curl_.multi.get();
    if (curl_multi_add_handle(multi, curl_.easy.get()) != CURLM_OK) throw std::bad_alloc();
    for (int running = 1; running > 0;) {
      if (curl_multi_perform(multi, &running) != CURLM_OK) throw std::bad_alloc();
      if (running == 0) break;
      progress_.check();
      if (Clock::now() - start_ > limits_.whole)
        throw NoPostAnswer("it does not answer within " + duration_text(limits_.whole), true);
      curl_multi_poll(multi, nullptr, 0, kPollMilliseconds, nullptr);
    }
    int left = 0;
    const CURLMsg* message = curl_multi_info_read(multi, &left);
    const CURLcode code = message ? message->data.result : CURLE_OK;
    answer_.status = curl_.info<long>(CURLINFO_RESPONSE_CODE);
    if (code != CURLE_OK) fail(code);
    if (answer_.status < 200) throw NoPostAnswer("its answer is not HTTP", false);
    return std::move(answer_);
  }

 private:
  void set_up(const JsonPost& question) {
    CURL* const easy = curl_.easy.get();
    DownloadLimits limits;
    limits.connect = std::min(limits_.connect, limits_.whole);
    curl_.prepare(address_, false, limits);
    for (const std::string& header :
         {std::string("Content-Type: application/json"), std::string("Accept: application/json"),
          std::string("Expect:"), "Authorization: Bearer " + question.key}) {
      if (question.key.empty() && header.starts_with("Authorization")) continue;
      curl_slist* const longer = curl_slist_append(headers_.get(), header.c_str());
      if (!longer) throw std::bad_alloc();
      (void)headers_.release();  // the longer list begins with the same element
      headers_.reset(longer);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_.get());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(question.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, question.body.data());
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Post::on_content);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Post::on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
    if (is_this_machine(address_.host)) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  }

  [[noreturn]] void fail(CURLcode code) const {
    const bool proxied = proxy_is_set() && !is_this_machine(address_.host);
    const std::string proxies = proxied ? ", or to the proxy of the environment" : "";
    if (header_bytes_ > kMostHeaderBytes)
      throw NoPostAnswer("its answer's headers have more than " + size_text(kMostHeaderBytes), false);
    if (too_long_) throw NoPostAnswer("its answer has more than " + size_text(limits_.most_bytes), false);
    if (const long proxy = curl_.info<long>(CURLINFO_HTTP_CONNECTCODE); proxy >= 300)
      throw NoPostAnswer("the proxy of the environment answers " + status_text(proxy), true);
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
        throw NoPostAnswer("its host is not known", true);
      case CURLE_COULDNT_CONNECT: {
        const long error = curl_.info<long>(CURLINFO_OS_ERRNO);
        throw NoPostAnswer(
            "no connection to it" + (error ? " (" + std::generic_category().message(int(error)) + ")" : "") + proxies,
            true);
      }
      case CURLE_OPERATION_TIMEDOUT:
        throw NoPostAnswer("no connection to it within " + duration_text(limits_.connect) + proxies, true);
      case CURLE_PEER_FAILED_VERIFICATION: {
        const std::string text = certificate_text("", curl_.info<long>(CURLINFO_SSL_VERIFYRESULT));
        const size_t begin = text.find("cannot be trusted"), end = text.find(", or download");
        throw NoPostAnswer("its certificate " + text.substr(begin, end - begin), true);
      }
      case CURLE_PARTIAL_FILE:
        throw NoPostAnswer("the connection ended before its answer was whole", false);
      default:
        throw NoPostAnswer(curl_text(code), false);
    }
  }

  static size_t on_content(char* data, size_t, size_t size, void* self) noexcept {
    auto& post = *static_cast<Post*>(self);
    try {
      post.too_long_ = post.answer_.body.size() + size > post.limits_.most_bytes;
      if (post.too_long_) return 0;
      post.answer_.body.append(data, size);
      return size;
    } catch (...) {
      return 0;  // no memory: told as a transfer that broke off
    }
  }

  static size_t on_header(char*, size_t, size_t size, void* self) noexcept {
    auto& post = *static_cast<Post*>(self);
    post.header_bytes_ += size;
    return post.header_bytes_ > kMostHeaderBytes ? 0 : size;
  }

  const WebAddress& address_;
  const PostLimits& limits_;
  Progress& progress_;
  std::unique_ptr<curl_slist, FreeList> headers_;  // longer than the handle that reads it
  CurlHandle curl_;
  PostAnswer answer_;
  size_t header_bytes_ = 0;
  bool too_long_ = false;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace

PostAnswer post_json(const JsonPost& question, const PostLimits& limits, Progress& progress) {
  const std::optional<WebAddress> address = parse_address(question.url);
  if (!address || (address->scheme != "http" && address->scheme != "https"))
    throw NoPostAnswer("its address is not a valid URL", false);
  return Post(question, *address, limits, progress).run();
}

}  // namespace wan
