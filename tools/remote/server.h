// A running wan-serve, as a client speaks with it: who asks, what is asked again, and what its refusals mean.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"
#include "tools/remote/http.h"

namespace wan::remote {

/// The server cannot be reached, or does not do as it should. Exit code 1. what() is one line: "[server] ...".
struct ServerFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A request was sent and no answer came: nobody knows whether the server has it.
struct Unsure : ServerFailure {
  using ServerFailure::ServerFailure;
};
/// The server wants another key, whatever it is asked.
struct WrongKey : InvalidRequest {
  using InvalidRequest::InvalidRequest;
};
/// The server wants to be asked later.
struct Later : ServerFailure {
  Later(const std::string& why, std::chrono::milliseconds pause) : ServerFailure(why), pause(pause) {}
  std::chrono::milliseconds pause;
};

class Server {
 public:
  Server(const ServerWords& words, Console& console);

  /// From now on it may be away or busy for ten minutes, once it has answered: a server that is started anew is waited
  /// for.
  void be_patient() { patient_ = true; }

  /// The path of a job, "/queue/fal-ai/wan/requests/ID", and what follows it.
  static std::string job_path(const std::string& id, const std::string& behind = "");
  /// The whole URL of what the server calls by a path or a URL of any host. Throws ServerFailure where it is none.
  std::string whole_url(const std::string& path_or_url) const;

  /// Answers in JSON. Where no connection comes about, or the server asks for it (429, 502, 503, 504 but for POST), it
  /// is asked again after growing pauses; a POST never once something of it was sent: Unsure. A POST that is answered
  /// by 429 or 503 throws Later. Throws ServerFailure, and InvalidRequest or ServerFailure for a refusal (refuse).
  nlohmann::json get(const std::string& path, const std::string& subject);
  /// Of a failed job's result, whose status is the job's own: its 429, 502, 503 and 504 are refusals, too.
  nlohmann::json get_of_failed(const std::string& path, const std::string& subject);
  nlohmann::json put(const std::string& path, const std::string& subject);
  nlohmann::json post(const std::string& path, const nlohmann::json& body, const std::string& subject,
                      const std::vector<std::string>& headers = {});

  /// One GET whose good content goes to `sink`; asked once. A refusal throws as in `get`. Throws NoAnswer.
  HttpAnswer stream(const std::string& path, const std::string& subject, const Sink& sink);

  /// One request without the key, to where the server said: whole URLs. Throws NoAnswer; a refusal is in the answer.
  HttpAnswer ask_freely(const HttpRequest& request, const Sink& sink = {}) { return http_.ask(request, sink); }

  /// After the n-th failure in a row, from 0: waits, and says so where it is long; or throws ServerFailure where it was
  /// tried often enough.
  void pause_after(const NoAnswer& none, int64_t failures);
  /// Throws Later where an answer asks for that, as `post` does: whoever asked decides what it does meanwhile.
  void check_later(const HttpAnswer& answer, int64_t failures) const;
  /// An answer came: the next failure is the first.
  void note_answer() { answered_ = true; }
  /// Waits. Throws Cancelled after a signal.
  void wait(std::chrono::milliseconds time);

  const std::string& url() const { return words_.url; }
  Console& console() { return console_; }

 private:
  using Clock = std::chrono::steady_clock;
  HttpRequest request(const std::string& method, const std::string& path) const;
  /// What an answer means that asks to come again later.
  enum class Busy { AskAgain, Refuse };
  HttpAnswer ask(const HttpRequest& request, const std::string& subject, Busy busy = Busy::AskAgain);
  /// Waits, and says so where it is long.
  void pause(std::chrono::milliseconds time, const std::string& why);
  nlohmann::json json_of(const HttpAnswer& answer) const;

  ServerWords words_;
  Console& console_;
  Http http_;
  bool patient_ = false, answered_ = false;
  Clock::time_point first_failure_{};
};

/// Whether a status asks to come again later: 429, 502, 503, 504.
bool is_later(long status);

/// Throws what an answer means that is no success: InvalidRequest for what whoever typed the command can put right
/// (400, 403, 404, 413, 422; WrongKey for 401), else ServerFailure. `subject` is what was asked for: "ID", or a field.
/// `has_key`: a key was sent.
[[noreturn]] void refuse(const HttpAnswer& answer, const std::string& subject, const std::string& server,
                         bool has_key = true);

}  // namespace wan::remote
