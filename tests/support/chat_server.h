// A language server of ours, which answers chats as a test wants and keeps what it was asked.
#pragma once

#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/web_server.h"

namespace wan {

/// What a good server makes of every prompt: 24 words.
inline const std::string kExpandedPrompt =
    "A bright red circle glides slowly to the right across a deep black background, seen in a still wide shot under "
    "soft even studio light";

/// The body of a whole answer with this content, a text or a list of parts.
inline std::string chat_of(const nlohmann::json& content) {
  const nlohmann::json message = {{"role", "assistant"}, {"content", content}};
  const nlohmann::json choice = {{"index", 0}, {"finish_reason", "stop"}, {"message", message}};
  nlohmann::json body = {{"object", "chat.completion"}};
  body["choices"] = nlohmann::json::array({choice});
  return body.dump();
}

class ChatServer {
 public:
  /// Answers one question; `body` is what was asked.
  using Answer = std::function<void(WebClient& client, const nlohmann::json& body)>;

  /// Answers each question with this status and body.
  explicit ChatServer(std::string body = chat_of(kExpandedPrompt), std::string status = "200 OK",
                      std::string headers = "Content-Type: application/json\r\n")
      : ChatServer([=](WebClient& client, const nlohmann::json&) { client.answer(status, headers, body); }) {}
  explicit ChatServer(Answer answer)
      : answer_(std::move(answer)), server_([this](WebClient& client) {
          const nlohmann::json body = nlohmann::json::parse(client.read_body(), nullptr, false);
          {
            const std::lock_guard lock(mutex_);
            questions_.push_back(body);
            paths_.push_back(client.method + " " + client.path);
          }
          answer_(client, body);
        }) {}

  /// Without /v1.
  std::string url() const { return server_.url(""); }
  int calls() const { return server_.requests(); }
  std::string last_headers() const { return server_.last_headers(); }
  std::vector<nlohmann::json> questions() const {
    const std::lock_guard lock(mutex_);
    return questions_;
  }
  std::vector<std::string> paths() const {
    const std::lock_guard lock(mutex_);
    return paths_;
  }

 private:
  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<nlohmann::json> questions_;
  std::vector<std::string> paths_;
  WebServer server_;  // ends first
};

}  // namespace wan
