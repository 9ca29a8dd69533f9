#include "engine/fetch/transfer.h"

#include <curl/curl.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <string_view>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/fetch/curl_handle.h"
#include "engine/fetch/curl_words.h"

namespace wan {
namespace {

using std::chrono::milliseconds;

constexpr const char* kOwnDownload = "; download it yourself and give the file";
constexpr int kPollMilliseconds = 100;     // the longest time until an interrupt is seen
constexpr int64_t kSpaceEvery = 16 << 20;  // bytes between two looks at the disk
constexpr auto kReportEvery = milliseconds(1000);

bool is_whole(long status) {
  return status == 200 || status == 203;
}

}  // namespace

void DownloadSubject::refuse(const std::string& why) const {
  throw InvalidRequest(field, "must be a URL that can be read, got " + shown_url(url) + ": " + why);
}

Transfer::Transfer(DownloadSubject subject, const DownloadLimits& limits, AtomicFile& file, Progress& progress,
                   std::string label)
    : subject_(std::move(subject)),
      limits_(limits),
      file_(file),
      progress_(progress),
      label_(std::move(label)),
      curl_(std::make_unique<CurlHandle>()) {}

Transfer::~Transfer() = default;

Answer Transfer::get(const WebAddress& address, bool with_user) {
  answer_ = {};
  refused_private_ = false;
  header_bytes_ = mark_bytes_ = 0;
  mark_ = Clock::now();
  set_up(address, with_user);
  CURLM* multi = curl_->multi.get();
  if (curl_multi_add_handle(multi, curl_->easy.get()) != CURLM_OK) throw std::bad_alloc();
  run();
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi, &left);
  const CURLcode code = message ? message->data.result : CURLE_OK;
  answer_.status = curl_->info<long>(CURLINFO_RESPONSE_CODE);
  if (code != CURLE_OK) answer_.failure = failure_of(code, address);
  curl_multi_remove_handle(multi, curl_->easy.get());
  return answer_;
}

void Transfer::set_up(const WebAddress& address, bool with_user) {
  CURL* easy = curl_->easy.get();
  curl_->prepare(address, with_user, limits_);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_content);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  if (!limits_.may_connect) return;
  const curl_opensocket_callback open = [](void* self, curlsocktype, curl_sockaddr* to) -> curl_socket_t {
    auto& transfer = *static_cast<Transfer*>(self);
    if (transfer.limits_.may_connect(to->addr)) return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    transfer.refused_private_ = true;
    return CURL_SOCKET_BAD;
  };
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
}

void Transfer::run() {
  for (int running = 1; running > 0;) {
    if (curl_multi_perform(curl_->multi.get(), &running) != CURLM_OK) throw std::bad_alloc();
    if (thrown_) std::rethrow_exception(thrown_);
    if (running == 0) break;
    watch();
    curl_multi_poll(curl_->multi.get(), nullptr, 0, kPollMilliseconds, nullptr);
  }
}

std::string Transfer::failure_of(int number, const WebAddress& address) const {
  const CURLcode code = CURLcode(number);
  const long proxy = curl_->info<long>(CURLINFO_HTTP_CONNECTCODE), error = curl_->info<long>(CURLINFO_OS_ERRNO);
  const std::string proxies = !proxy_is_set()       ? ""
                              : limits_.may_connect ? "; with --no-private-urls no proxy is used"
                                                    : ", or to the proxy of the environment";
  const std::string after = " after " + std::to_string(received());
  if (proxy >= 300) return "the proxy of the environment answers " + status_text(proxy);
  if (refused_private_)
    return "'" + address.host + "' is in a private or local network; without --no-private-urls it may be asked";
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "the host '" + address.host + "' is not known" + (limits_.may_connect ? proxies : "");
    case CURLE_COULDNT_CONNECT:
      return "no connection to '" + address.host + "' at port " + address.port +
             (error ? " (" + std::generic_category().message(int(error)) + ")" : "") + proxies;
    case CURLE_OPERATION_TIMEDOUT:
      return "no connection to '" + address.host + "' within " + duration_text(limits_.connect) + proxies;
    case CURLE_PEER_FAILED_VERIFICATION:
      return certificate_text(address.host, curl_->info<long>(CURLINFO_SSL_VERIFYRESULT));
    case CURLE_PARTIAL_FILE:
      return "the connection ended" + after +
             (announced() > 0 ? " of " + std::to_string(announced()) + " bytes" : " bytes, before the end");
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return curl_text(code) + after + " bytes";
    default:
      return curl_text(code);
  }
}

/// Asked several times a second, also while nothing comes.
void Transfer::watch() {
  const Clock::time_point now = Clock::now();
  progress_.check();
  if (now - start_ > limits_.whole)
    subject_.refuse("it takes longer than " + duration_text(limits_.whole) + kOwnDownload);
  const int64_t bytes = received();
  if (bytes > limits_.most_bytes) refuse_size(bytes);  // of what unpacks to little, too
  watch_rate(now, bytes);
  report(now, bytes);
}

void Transfer::watch_rate(Clock::time_point now, int64_t bytes) {
  if (bytes == 0) {
    if (now - mark_ > limits_.answer)
      subject_.refuse("no content comes within " + duration_text(limits_.answer) + kOwnDownload);
    return;
  }
  if (mark_bytes_ == 0) mark_ = now, mark_bytes_ = bytes;
  if (now - mark_ < limits_.rate_over) return;
  const double seconds = std::chrono::duration<double>(now - mark_).count();
  if (double(bytes - mark_bytes_) < seconds * double(limits_.least_rate))
    subject_.refuse("less than " + std::to_string(limits_.least_rate) + " bytes a second come, " +
                    std::to_string(bytes) + " so far" + kOwnDownload);
  mark_ = now, mark_bytes_ = bytes;
}

void Transfer::report(Clock::time_point now, int64_t bytes) {
  if (now - reported_ < kReportEvery) return;
  reported_ = now;
  progress_.at({Stage::Fetch, bytes, std::max<int64_t>(announced(), 0), "", label_});
}

void Transfer::refuse_size(int64_t bytes) const {
  subject_.refuse("it has " + std::string(announced() > 0 ? "" : "at least ") + std::to_string(bytes) +
                  " bytes, at most " + std::to_string(limits_.most_bytes) + " are read");
}

void Transfer::check_space(int64_t more) const {
  std::error_code failed;
  const std::filesystem::path folder = std::filesystem::absolute(file_.part()).parent_path();
  const std::filesystem::space_info space = std::filesystem::space(folder, failed);
  if (failed || uint64_t(more) + limits_.free_bytes <= space.available) return;
  const bool known = announced() > 0;
  subject_.refuse("the disk has " + gigabytes(space.available) + " left, " +
                  (known ? gigabytes(uint64_t(more)) + " are still to come, " : "") + "and " +
                  gigabytes(limits_.free_bytes) +
                  " must stay free; make room, or work on another disk (--out, --work)");
}

void Transfer::take_header(const char* line, size_t size) {
  header_bytes_ += int64_t(size);
  if (header_bytes_ > limits_.most_header_bytes)
    subject_.refuse("its headers have more than " + std::to_string(limits_.most_header_bytes) + " bytes");
  const std::string_view text(line, size), name = "location:";
  if (text.starts_with("HTTP/")) answer_.location.clear();  // of an answer before the last one
  if (text.size() < name.size() || strncasecmp(line, name.data(), name.size()) != 0) return;
  const size_t begin = text.find_first_not_of(" \t\r\n", name.size());
  if (begin != text.npos) answer_.location = text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

/// False where the content is not wanted, that of an error or a redirect: the transfer ends there.
bool Transfer::take_content(const char* data, size_t size) {
  if (!is_whole(curl_->info<long>(CURLINFO_RESPONSE_CODE))) return false;
  const bool first = answer_.content_bytes == 0;
  answer_.content_bytes += int64_t(size);
  if (const int64_t bytes = std::max(announced(), answer_.content_bytes); bytes > limits_.most_bytes)
    refuse_size(bytes);
  unchecked_bytes_ += int64_t(size);
  if (first || unchecked_bytes_ >= kSpaceEvery) {
    check_space(std::max(announced() - answer_.content_bytes, int64_t(size)));
    unchecked_bytes_ = 0;
  }
  file_.write(data, size);
  return true;
}

int64_t Transfer::received() const {
  return curl_->info<curl_off_t>(CURLINFO_SIZE_DOWNLOAD_T);
}

/// The length that the server told; -1: none.
int64_t Transfer::announced() const {
  return curl_->info<curl_off_t>(CURLINFO_CONTENT_LENGTH_DOWNLOAD_T);
}

size_t Transfer::on_header(char* data, size_t, size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  try {
    transfer.take_header(data, size);
    return size;
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return 0;
  }
}

size_t Transfer::on_content(char* data, size_t, size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  try {
    return transfer.take_content(data, size) ? size : 0;
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return 0;
  }
}

}  // namespace wan
