#include "tools/remote/http.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>

#include "engine/base/text.h"
#include "engine/fetch/curl_handle.h"
#include "engine/fetch/curl_words.h"

namespace wan::remote {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPollMilliseconds = 100;               // the longest time until an interrupt is seen
constexpr auto kSilence = std::chrono::seconds(60);  // without a byte in either direction; streams have one each 15 s
constexpr auto kLastMoment = std::chrono::seconds(5);
constexpr auto kReportEvery = std::chrono::milliseconds(500);
constexpr size_t kMostBody = 16 << 20, kMostHeaders = 256 << 10;

/// A file that is sent, from its start again where libcurl wants it.
class SentFile {
 public:
  explicit SentFile(const std::string& path) : path_(path), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat about = {};
    if (file_ < 0 || fstat(file_, &about) != 0) fail();
    bytes_ = about.st_size;
  }
  ~SentFile() {
    if (file_ >= 0) close(file_);
  }
  SentFile(const SentFile&) = delete;
  SentFile& operator=(const SentFile&) = delete;

  int64_t bytes() const { return bytes_; }
  size_t read(char* into, size_t size) {
    for (;;) {
      const ssize_t got = ::read(file_, into, size);
      if (got >= 0) return size_t(got);
      if (errno != EINTR) fail();
    }
  }
  bool seek(int64_t to) { return lseek(file_, to, SEEK_SET) == to; }

 private:
  [[noreturn]] void fail() const {
    throw std::runtime_error("[" + shown_path(path_) + "] cannot be read: " + std::strerror(errno));
  }

  std::string path_;
  int file_ = -1;
  int64_t bytes_ = 0;
};

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]";
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

}  // namespace

struct Http::State {
  explicit State(Progress& progress) : progress(progress) {}

  Progress& progress;
  CurlHandle curl;

  // Of the request that runs.
  const HttpRequest* request = nullptr;
  const Sink* sink = nullptr;
  HttpAnswer answer;
  std::unique_ptr<SentFile> file;
  std::unique_ptr<curl_slist, FreeList> headers;
  size_t header_bytes = 0;
  Clock::time_point begun, moved, reported;
  int64_t moved_bytes = 0;
  std::exception_ptr thrown;  // in a callback: nothing may be thrown through C

  void set_up(const WebAddress& address);
  void run();
  void watch();
  int64_t sent() const { return curl.info<curl_off_t>(CURLINFO_SIZE_UPLOAD_T); }
  [[noreturn]] void fail(CURLcode code, const WebAddress& address) const;

  void take_header(std::string_view line);
  size_t take_content(std::string_view piece);

  template <class Function>
  size_t guarded(size_t on_error, Function function) noexcept {
    try {
      return function();
    } catch (...) {
      thrown = std::current_exception();
      return on_error;
    }
  }
  static size_t on_header(char* data, size_t, size_t size, void* self) noexcept {
    auto& state = *static_cast<State*>(self);
    return state.guarded(0, [&] { return state.take_header({data, size}), size; });
  }
  static size_t on_content(char* data, size_t, size_t size, void* self) noexcept {
    auto& state = *static_cast<State*>(self);
    return state.guarded(0, [&] { return state.take_content({data, size}); });
  }
  static size_t on_read(char* into, size_t one, size_t size, void* self) noexcept {
    auto& state = *static_cast<State*>(self);
    return state.guarded(CURL_READFUNC_ABORT, [&] { return state.file->read(into, one * size); });
  }
  static int on_seek(void* self, curl_off_t to, int from) noexcept {
    auto& state = *static_cast<State*>(self);
    return from == SEEK_SET && state.file->seek(to) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }
};

void Http::State::set_up(const WebAddress& address) {
  CURL* easy = curl.easy.get();
  curl.prepare(address, false, {});
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &State::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &State::on_content);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  if (is_this_machine(address.host)) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_slist* list = nullptr;
  auto add = [&](const std::string& header) {
    curl_slist* longer = curl_slist_append(list, header.c_str());
    if (!longer) throw std::bad_alloc();
    list = longer;
    (void)headers.release();  // the list begins with the same element
    headers.reset(list);
  };
  for (const std::string& header : request->headers) add(header);
  if (!request->file.empty()) {
    // Large ones wait for the server's "100 Continue", so that a refusal comes before the content.
    file = std::make_unique<SentFile>(request->file);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(file->bytes()));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &State::on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &State::on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, this);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  } else if (request->method != "GET") {
    add("Expect:");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request->body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.c_str());
  }
  if (request->method != "GET") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method.c_str());
  if (request->method == "POST") curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
}

void Http::State::run() {
  for (int running = 1; running > 0;) {
    if (curl_multi_perform(curl.multi.get(), &running) != CURLM_OK) throw std::bad_alloc();
    if (thrown) std::rethrow_exception(thrown);
    if (running == 0) break;
    watch();
    curl_multi_poll(curl.multi.get(), nullptr, 0, kPollMilliseconds, nullptr);
  }
}

void Http::State::watch() {
  const Clock::time_point now = Clock::now();
  // What is being sent is given a moment for its answer: else nobody would know whether the server has it.
  if (request->method != "POST" || now - begun > kLastMoment) progress.check();
  const int64_t bytes = sent() + curl.info<curl_off_t>(CURLINFO_SIZE_DOWNLOAD_T);
  if (bytes != moved_bytes) moved = now, moved_bytes = bytes;
  if (now - moved > kSilence) throw NoAnswer("nothing comes for " + duration_text(kSilence), true, false);
  if (!file || file->bytes() == 0 || now - reported < kReportEvery) return;
  reported = now;
  progress.at({Stage::Upload, sent(), file->bytes(), "", request->label});
}

void Http::State::take_header(std::string_view line) {
  header_bytes += line.size();
  if (header_bytes > kMostHeaders) throw NoAnswer("the headers of the answer are too long", true, true);
  if (line.starts_with("HTTP/")) answer.retry_after.reset();  // of an answer before the last one
  constexpr std::string_view kName = "retry-after:";
  if (line.size() < kName.size() || strncasecmp(line.data(), kName.data(), kName.size()) != 0) return;
  int64_t seconds = 0;
  bool any = false;
  for (const char letter : line.substr(kName.size())) {
    if (letter >= '0' && letter <= '9')
      seconds = std::min<int64_t>(seconds * 10 + (letter - '0'), 86400), any = true;
    else if (any)
      break;
  }
  if (any) answer.retry_after = seconds;
}

size_t Http::State::take_content(std::string_view piece) {
  if (*sink && curl.info<long>(CURLINFO_RESPONSE_CODE) == 200) {
    if ((*sink)(piece)) return piece.size();
    answer.stopped = true;
    return 0;
  }
  if (answer.body.size() + piece.size() > kMostBody)
    throw NoAnswer("the answer has more than " + std::to_string(kMostBody >> 20) + " MiB", true, true);
  answer.body += piece;
  return piece.size();
}

void Http::State::fail(CURLcode code, const WebAddress& address) const {
  const long proxy = curl.info<long>(CURLINFO_HTTP_CONNECTCODE), error = curl.info<long>(CURLINFO_OS_ERRNO);
  const bool sent = curl.info<long>(CURLINFO_REQUEST_SIZE) > 0;
  const std::string proxies =
      proxy_is_set() && !is_this_machine(address.host) ? ", or to the proxy of the environment" : "";
  const auto tell = [&](const std::string& why, bool final = false) { throw NoAnswer(why, sent, final); };
  if (proxy >= 300) tell("the proxy of the environment answers " + status_text(proxy));
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      tell("the host '" + address.host + "' is not known");
      break;
    case CURLE_COULDNT_CONNECT:
      tell("no connection to '" + address.host + "' at port " + address.port +
           (error ? " (" + std::generic_category().message(int(error)) + ")" : "") + proxies);
      break;
    case CURLE_OPERATION_TIMEDOUT:
      tell("no connection to '" + address.host + "' at port " + address.port + " in time" + proxies);
      break;
    case CURLE_PEER_FAILED_VERIFICATION: {
      const std::string text = certificate_text(address.host, curl.info<long>(CURLINFO_SSL_VERIFYRESULT));
      tell(text.substr(0, text.find("; ")) + "; --cacert FILE names certificates to trust", true);
      break;
    }
    case CURLE_SSL_CACERT_BADFILE:
      tell("the file of trusted certificates cannot be read; --cacert, SSL_CERT_FILE or CURL_CA_BUNDLE names it", true);
      break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WEIRD_SERVER_REPLY:
      tell(curl_text(code), true);
      break;
    default:
      tell(curl_text(code));
  }
  throw NoAnswer(curl_text(code), sent, false);
}

Http::Http(Progress& progress) : state_(std::make_unique<State>(progress)) {}
Http::~Http() = default;

HttpAnswer Http::ask(const HttpRequest& request, const Sink& sink) {
  State& state = *state_;
  const std::optional<WebAddress> address = parse_address(request.url);
  if (!address || (address->scheme != "http" && address->scheme != "https"))
    throw NoAnswer("it is not a valid URL", false, true);
  state.request = &request;
  state.sink = &sink;
  state.answer = {};
  state.header_bytes = 0;
  state.begun = state.moved = state.reported = Clock::now();
  state.moved_bytes = 0;
  state.thrown = nullptr;
  state.file.reset();
  state.headers.reset();
  state.set_up(*address);
  CURLM* multi = state.curl.multi.get();
  CURL* easy = state.curl.easy.get();
  if (curl_multi_add_handle(multi, easy) != CURLM_OK) throw std::bad_alloc();
  struct Remove {
    CURLM* multi;
    CURL* easy;
    ~Remove() { curl_multi_remove_handle(multi, easy); }
  } remove{multi, easy};
  state.run();
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi, &left);
  const CURLcode code = message ? message->data.result : CURLE_OK;
  state.answer.status = state.curl.info<long>(CURLINFO_RESPONSE_CODE);
  // A refusal may come before all of a file was sent, and end the connection.
  const bool refused = state.answer.status >= 400 && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR);
  if (code != CURLE_OK && !state.answer.stopped && !refused) state.fail(code, *address);
  if (state.answer.status < 200) throw NoAnswer("the answer is not HTTP", true, true);
  return std::move(state.answer);
}

}  // namespace wan::remote
