#include "engine/fetch/download.h"

#include "engine/base/text.h"
#include "engine/fetch/curl_words.h"
#include "engine/fetch/transfer.h"

namespace wan {
namespace {

bool is_redirect(long status) {
  return status >= 300 && status < 400 && status != 304 && status != 305 && status != 306;
}

class Download {
 public:
  Download(const DownloadSubject& subject, const DownloadLimits& limits, AtomicFile& file, Progress& progress,
           const std::string& label)
      : subject_(subject), limits_(limits), transfer_(subject, limits, file, progress, label) {}

  void run() {
    const auto first = parse_address(subject_.url);
    if (!first || !is_web(*first)) subject_.refuse("it is not a valid URL");
    WebAddress address = *first;
    for (int64_t redirects = 0;; ++redirects) {
      address.user = first->user, address.password = first->password;
      const Answer answer = transfer_.get(address, address.same_host(*first));
      where_ = redirects == 0 ? "" : "it leads to " + shown_url(address.url) + ": ";
      if (!is_redirect(answer.status)) return judge(answer);
      if (redirects == limits_.most_redirects)
        subject_.refuse("it redirects more than " + std::to_string(limits_.most_redirects) + " times");
      address = next(address, answer);
    }
  }

 private:
  static bool is_web(const WebAddress& address) { return address.scheme == "http" || address.scheme == "https"; }

  void judge(const Answer& answer) const {
    const bool whole = answer.status == 200 || answer.status == 203;
    if (answer.status >= 200 && !whole)
      subject_.refuse(where_ +
                      (answer.status == 407 ? "the proxy of the environment answers " : "the server answers ") +
                      status_text(answer.status) +
                      (answer.status == 401 ? "; a URL can hold them: http://NAME:PASSWORD@HOST/..." : ""));
    if (!answer.failure.empty()) subject_.refuse(where_ + answer.failure);
    if (!whole) subject_.refuse(where_ + "the answer is not HTTP");
    if (answer.content_bytes == 0) subject_.refuse(where_ + "it is empty");
  }

  WebAddress next(const WebAddress& from, const Answer& answer) const {
    if (answer.location.empty())
      subject_.refuse(where_ + "the server answers " + status_text(answer.status) + " and not where it is now");
    const auto to = parse_address(answer.location, from.url);
    if (!to) subject_.refuse(where_ + "it redirects to what is not a valid URL");
    if (!is_web(*to))
      subject_.refuse(where_ + "it redirects to " + shown_url(to->url) + ", which is not http or https");
    if (from.scheme == "https" && to->scheme == "http")
      subject_.refuse(where_ + "it redirects from https to " + shown_url(to->url) +
                      ", where others could change it; to take it from there, give that URL");
    return *to;
  }

  DownloadSubject subject_;
  const DownloadLimits& limits_;
  Transfer transfer_;
  std::string where_;  // how a message about a redirect's target begins
};

}  // namespace

void download(const std::string& url, const char* field, AtomicFile& file, const DownloadLimits& limits,
              Progress& progress, const std::string& label) {
  Download({url, field}, limits, file, progress, label).run();
}

}  // namespace wan
