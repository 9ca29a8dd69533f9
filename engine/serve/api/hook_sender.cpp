#include "engine/serve/api/hook_sender.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/base/text.h"
#include "engine/fetch/curl_easy.h"
#include "engine/fetch/curl_words.h"
#include "engine/fetch/public_address.h"

namespace wan::serve {
namespace {

constexpr size_t kLongestUrl = 8192;
constexpr size_t kMostAnswer = 64 << 10;  // bytes of an answer that are read; its status is all that counts

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::string part(const Url& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (!url || curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

/// Null where the text is no URL.
Url parsed(const std::string& text) {
  Url url(curl_url());
  if (url && curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) url.reset();
  return url;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// One message under way.
struct Message {
  std::string url, body;
  HookSender::Done done;
  std::unique_ptr<CURL, FreeEasy> easy;
  std::unique_ptr<curl_slist, FreeList> headers;
  size_t answer_bytes = 0;
  bool private_urls = true, refused_private = false;
};

size_t on_answer(char*, size_t, size_t size, void* to) noexcept {
  auto& message = *static_cast<Message*>(to);
  message.answer_bytes += size;
  return message.answer_bytes > kMostAnswer ? 0 : size;
}

curl_socket_t on_open(void* of, curlsocktype, curl_sockaddr* to) noexcept {
  auto& message = *static_cast<Message*>(of);
  if (message.private_urls || is_public_address(to->addr))
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
  message.refused_private = true;
  return CURL_SOCKET_BAD;
}

/// Why it was not taken; empty: it was. An answer that is too long or breaks off after its status was one all the same.
std::string failure_of(const Message& message, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(message.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (message.refused_private) return "its host is in a private or local network; wan-serve --private-urls allows that";
  const bool answered = status >= 200 && (code == CURLE_OK || code == CURLE_WRITE_ERROR || code == CURLE_PARTIAL_FILE);
  if (answered && status < 300) return {};
  if (answered && status < 400) return "it answers " + status_text(status) + "; redirects are not followed";
  if (answered) return "it answers " + status_text(status);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its host is not known";
    case CURLE_COULDNT_CONNECT:
      return "no connection can be made";
    case CURLE_OPERATION_TIMEDOUT:
      return "it does not answer in time";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate cannot be trusted";
    default:
      return curl_text(code);
  }
}

}  // namespace

std::string wrong_webhook(const std::string& text) {
  if (text.size() > kLongestUrl) return "must be a URL of at most 8192 letters, got a longer one";
  const bool plain = std::none_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 127; });
  const Url url = plain ? parsed(text) : nullptr;
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (url && (scheme == "http" || scheme == "https") && !part(url, CURLUPART_HOST).empty()) return {};
  return "must be a URL of http or https, got " + shown_url(text);
}

std::string webhook_host(const std::string& text) {
  const Url url = parsed(text);
  std::string host = part(url, CURLUPART_HOST);
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return host.empty() ? "" : host + ":" + part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

struct HookSender::State {
  boost::asio::io_context& io;
  const Options options;
  std::unique_ptr<CURLM, FreeMulti> multi;
  std::mutex mutex;  // of the two below
  std::vector<std::unique_ptr<Message>> arrived;
  bool stopped = false;
  std::map<CURL*, std::unique_ptr<Message>> under_way;  // of the thread alone
  std::thread thread;

  State(boost::asio::io_context& io, Options options) : io(io), options(options) {
    start_curl();
    multi.reset(curl_multi_init());
    if (!multi) throw std::bad_alloc();
    thread = std::thread([this] { run(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
    }
    curl_multi_wakeup(multi.get());
    thread.join();
    for (const auto& [easy, message] : under_way) curl_multi_remove_handle(multi.get(), easy);
  }

  void run() {
    while (take_arrived()) {
      int running = 0;
      curl_multi_perform(multi.get(), &running);
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left))
        if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
      curl_multi_poll(multi.get(), nullptr, 0, 1000, nullptr);
    }
  }

  /// False where the thread is to end.
  bool take_arrived() {
    std::vector<std::unique_ptr<Message>> mine;
    {
      const std::lock_guard lock(mutex);
      if (stopped) return false;
      mine.swap(arrived);
    }
    for (std::unique_ptr<Message>& message : mine) begin(std::move(message));
    return true;
  }

  void begin(std::unique_ptr<Message> message) {
    message->easy.reset(curl_easy_init());
    CURL* easy = message->easy.get();
    if (easy) set_up(*message);
    if (!easy || curl_multi_add_handle(multi.get(), easy) != CURLM_OK)
      return tell(std::move(message->done), "libcurl has no memory for it");
    under_way[easy] = std::move(message);
  }

  void set_up(Message& message) const {
    CURL* easy = message.easy.get();
    set_basics(easy);
    for (const char* header : {"Content-Type: application/json", "Accept: */*", "Expect:"})
      if (curl_slist* longer = curl_slist_append(message.headers.get(), header)) {
        (void)message.headers.release();
        message.headers.reset(longer);
      }
    curl_easy_setopt(easy, CURLOPT_URL, message.url.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, message.headers.get());
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, message.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(message.body.size()));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, long(options.whole.count()));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, long(options.connect.count()));
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &message);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &message);
    message.private_urls = options.private_urls;
    // A proxy would connect to hosts that are not seen here.
    if (!options.private_urls) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  }

  void finish(CURL* easy, CURLcode code) {
    curl_multi_remove_handle(multi.get(), easy);
    const auto found = under_way.find(easy);
    if (found == under_way.end()) return;
    const std::unique_ptr<Message> message = std::move(found->second);
    under_way.erase(found);
    tell(std::move(message->done), failure_of(*message, code));
  }

  void tell(Done done, std::string failure) {
    boost::asio::post(io,
                      [done = std::move(done), failure = std::move(failure)]() mutable { done(std::move(failure)); });
  }
};

HookSender::HookSender(boost::asio::io_context& io, Options options) : state_(std::make_unique<State>(io, options)) {}

HookSender::~HookSender() = default;

void HookSender::send(std::string url, std::string body, Done done) {
  auto message = std::make_unique<Message>();
  message->url = std::move(url), message->body = std::move(body), message->done = std::move(done);
  {
    const std::lock_guard lock(state_->mutex);
    state_->arrived.push_back(std::move(message));
  }
  curl_multi_wakeup(state_->multi.get());
}

}  // namespace wan::serve
