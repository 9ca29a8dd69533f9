#include "tools/remote/server.h"

#include <algorithm>
#include <thread>

#include "engine/base/text.h"
#include "engine/fetch/curl_words.h"
#include "engine/fetch/web_address.h"
#include "models/files/json.h"
#include "tools/remote/answers.h"

namespace wan::remote {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr int64_t kTries = 5;  // of a server that has not answered yet, or of a command that is not patient
constexpr auto kPatience = std::chrono::minutes(10);
constexpr milliseconds kFirstPause(250), kLongestPause(15'000), kLongestLater(60'000);

milliseconds pause_of(int64_t failures) {
  return std::min(kLongestPause, kFirstPause * (int64_t(1) << std::min<int64_t>(failures, 10)));
}

milliseconds later_pause(const HttpAnswer& answer, int64_t failures) {
  if (!answer.retry_after) return std::max(pause_of(failures), milliseconds(1000));
  return std::clamp(milliseconds(*answer.retry_after * 1000), milliseconds(250), kLongestLater);
}

/// The server's own words in an error of either vendor's form; empty where there are none.
std::string words_of(const HttpAnswer& answer) {
  const json body = read_answer(answer.body);
  if (!body.is_object()) return "";
  for (const char* name : {"detail", "message", "error"})
    if (body.contains(name) && body[name].is_string()) return plain_line(body[name].get<std::string>());
  return "";
}

}  // namespace

bool is_later(long status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

void refuse(const HttpAnswer& answer, const std::string& subject, const std::string& server, bool has_key) {
  const std::string words = words_of(answer), told = words.empty() ? "" : ": " + words;
  const std::string who = "[server] " + shown_url(server);
  switch (answer.status) {
    case 401:
      if (!has_key)
        throw WrongKey(
            "--key",
            "is required by the server; --key or WAN_SERVER_KEY gives one that wan-serve key add NAME printed");
      throw WrongKey("--key", "is not known to the server" + told +
                                  "; --key or WAN_SERVER_KEY gives one that wan-serve key add NAME printed");
    case 404:
      if (subject == "ID")
        throw InvalidRequest("ID", "must be of a job that this server has for this key; it has none" + told +
                                       ". Ended jobs are removed after some time");
      // wan-serve itself says what it has not, a model for the task for one; its answer to an unknown path has no type.
      if (const json body = read_answer(answer.body); body.is_object() && body.contains("error_type"))
        throw InvalidRequest(subject, "is refused by the server" + told);
      throw ServerFailure(who + " has no such address" + told +
                          "; is it a wan-serve, and is the path of --server right?");
    case 413:
      throw InvalidRequest(subject, "is larger than the server takes" + told);
    case 422: {
      std::vector<FieldError> errors = field_errors(read_answer(answer.body));
      if (!errors.empty()) throw InvalidRequest(errors);
      throw InvalidRequest(subject, "is refused by the server" + told);
    }
    case 400:
      if (const json body = read_answer(answer.body);
          body.is_object() && body.value("status", json()) == "ALREADY_COMPLETED")
        throw InvalidRequest("ID", "has ended already; wan-infer status tells how");
      [[fallthrough]];
    case 403:
      throw InvalidRequest(subject, "is refused by the server" + told);
  }
  throw ServerFailure(who + " answers " + status_text(answer.status) + told);
}

Server::Server(const ServerWords& words, Console& console) : words_(words), console_(console), http_(console) {}

std::string Server::job_path(const std::string& id, const std::string& behind) {
  return "/queue/fal-ai/wan/requests/" + id + behind;
}

std::string Server::whole_url(const std::string& path_or_url) const {
  const std::optional<WebAddress> address = parse_address(path_or_url, words_.url + "/");
  if (address && (address->scheme == "http" || address->scheme == "https")) return address->url;
  throw ServerFailure("[server] " + shown_url(words_.url) +
                      " names a file that is at no http(s) URL: " + shown_url(path_or_url));
}

HttpRequest Server::request(const std::string& method, const std::string& path) const {
  HttpRequest made{.method = method, .url = words_.url + path};
  made.headers.push_back("Accept: application/json");
  if (!words_.key.empty()) made.headers.push_back("Authorization: Key " + words_.key);
  return made;
}

void Server::wait(milliseconds time) {
  const Clock::time_point until = Clock::now() + time;
  for (console_.check(); Clock::now() < until; console_.check())
    std::this_thread::sleep_for(std::min<Clock::duration>(milliseconds(50), until - Clock::now()));
}

void Server::pause_after(const NoAnswer& none, int64_t failures) {
  if (failures == 0) first_failure_ = Clock::now();
  const bool patient = patient_ && answered_;
  if (none.final || (patient ? Clock::now() - first_failure_ > kPatience : failures + 1 >= kTries))
    throw ServerFailure("[server] " + shown_url(words_.url) + " gives no answer: " + none.what() +
                        (none.final ? "" : "; is wan-serve running there?"));
  pause(pause_of(failures), none.what());
}

void Server::pause(milliseconds time, const std::string& why) {
  if (time >= milliseconds(2000)) console_.log()("retry", {{"seconds", double(time.count()) / 1000}, {"why", why}});
  wait(time);
}

void Server::check_later(const HttpAnswer& answer, int64_t failures) const {
  if (!is_later(answer.status)) return;
  const std::string words = words_of(answer);
  throw Later("[server] " + shown_url(words_.url) + " cannot take it now: it answers " + status_text(answer.status) +
                  (words.empty() ? "" : ": " + words),
              later_pause(answer, failures));
}

HttpAnswer Server::ask(const HttpRequest& request, const std::string& subject, Busy busy) {
  const bool once = request.method == "POST";
  for (int64_t failures = 0;; ++failures) {
    try {
      HttpAnswer answer = http_.ask(request);
      answered_ = true;
      if (answer.status >= 200 && answer.status < 300) return answer;
      const bool later = is_later(answer.status) && busy == Busy::AskAgain;
      if (!later || (once && answer.status != 429 && answer.status != 503))
        refuse(answer, subject, words_.url, !words_.key.empty());
      if (once) check_later(answer, failures);
      if (failures == 0) first_failure_ = Clock::now();
      if (patient_ ? Clock::now() - first_failure_ > kPatience : failures + 1 >= kTries)
        refuse(answer, subject, words_.url);
      pause(later_pause(answer, failures), "it answers " + status_text(answer.status));
    } catch (const NoAnswer& none) {
      if (once && none.sent)
        throw Unsure("[server] " + shown_url(words_.url) + " may or may not have got the request: " + none.what());
      pause_after(none, failures);
    }
  }
}

json Server::json_of(const HttpAnswer& answer) const {
  json body = read_answer(answer.body);
  if (body.is_object()) return body;
  throw ServerFailure("[server] " + shown_url(words_.url) + " answers " + status_text(answer.status) +
                      " without a JSON object; is it a wan-serve?");
}

json Server::get(const std::string& path, const std::string& subject) {
  return json_of(ask(request("GET", path), subject));
}

json Server::get_of_failed(const std::string& path, const std::string& subject) {
  return json_of(ask(request("GET", path), subject, Busy::Refuse));
}

json Server::put(const std::string& path, const std::string& subject) {
  return json_of(ask(request("PUT", path), subject));
}

json Server::post(const std::string& path, const json& body, const std::string& subject,
                  const std::vector<std::string>& headers) {
  HttpRequest made = request("POST", path);
  made.headers.push_back("Content-Type: application/json");
  made.headers.insert(made.headers.end(), headers.begin(), headers.end());
  made.body = body.dump();
  return json_of(ask(made, subject));
}

HttpAnswer Server::stream(const std::string& path, const std::string& subject, const Sink& sink) {
  HttpRequest made = request("GET", path);
  made.headers.front() = "Accept: text/event-stream";
  HttpAnswer answer = http_.ask(made, sink);
  answered_ = true;
  if (answer.status != 200 && !is_later(answer.status)) refuse(answer, subject, words_.url, !words_.key.empty());
  if (answer.status != 200) throw NoAnswer("it answers " + status_text(answer.status), true, false);
  return answer;
}

}  // namespace wan::remote
