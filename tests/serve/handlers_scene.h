// The handlers of the APIs and the page over a queue and a worker that renders nothing, called without a connection.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/serve/api/context.h"
#include "engine/serve/api/page.h"
#include "models/files/digest.h"
#include "tests/serve/api_exchange.h"
#include "tests/serve/work_scene.h"

namespace wan::serve {

/// A key whose text is its name.
inline Key key_named(const std::string& name, const Quota& quota = {}, bool admin = false) {
  return {.name = name, .hash = sha256({name}), .admin = admin, .quota = quota};
}

class HandlersScene : public WorkScene {
 protected:
  ~HandlersScene() override { end(); }  // coroutines hold the context

  /// A server whose jobs wait. Without keys everybody may do everything.
  void begin_api(std::vector<Key> keys = {}) {
    begin();
    dispatcher_->pause("a test");
    access_ = std::make_unique<Access>(Access::Options{.keys = std::move(keys),
                                                       .listen = "127.0.0.1:8000",
                                                       .public_url = {},
                                                       .cors = {},
                                                       .secure_cookies = false,
                                                       .requests_per_second = 0});
    files_ = std::make_unique<Files>(settings_.data, *jobs_);
    context_.reset(new ApiContext{settings_, *jobs_, *files_, *access_, *dispatcher_});
    router_ = std::make_unique<Router>();
    add_page_routes(*router_, *context_);
    add_api_routes(*router_, *context_);
  }

  /// A request for `ask`; `key` as key_named() made it.
  static ApiExchange request(const std::string& method, const std::string& path, const std::string& body = "",
                             const std::string& key = "") {
    ApiExchange exchange;
    exchange.method_text = method;
    exchange.path_text = path.substr(0, path.find('?'));
    if (const size_t mark = path.find('?'); mark != path.npos) {
      const std::string query = path.substr(mark + 1);
      exchange.parameters[query.substr(0, query.find('='))] = query.substr(query.find('=') + 1);
    }
    for (size_t at = 1; at < exchange.path_text.size();) {
      const size_t end = std::min(exchange.path_text.find('/', at), exchange.path_text.size());
      exchange.path_segments.push_back(exchange.path_text.substr(at, end - at));
      at = end + 1;
    }
    exchange.body = body;
    if (!key.empty()) exchange.headers["Authorization"] = "Key " + key;
    return exchange;
  }
  /// Answers them at once, as connections of their own would.
  std::vector<Answer> ask_all(std::vector<ApiExchange>& exchanges) {
    std::vector<Answer> answers(exchanges.size());
    size_t over = 0;
    for (size_t i = 0; i < exchanges.size(); ++i) {
      boost::asio::co_spawn(*io_, answer(exchanges[i]), [&answers, &over, i](std::exception_ptr error, Answer got) {
        EXPECT_FALSE(error);
        answers[i] = std::move(got);
        ++over;
      });
    }
    EXPECT_TRUE(until([&] { return over == exchanges.size(); }));
    return answers;
  }
  Answer ask(const std::string& method, const std::string& path, const std::string& body = "",
             const std::string& key = "") {
    std::vector<ApiExchange> exchanges(1, request(method, path, body, key));
    return ask_all(exchanges).front();
  }
  /// The body of an answer.
  static nlohmann::json json_of(const Answer& answer) { return nlohmann::json::parse(answer.body, nullptr, false); }

  Awaitable<Answer> answer(ApiExchange& exchange) {
    Answer got;
    try {
      got = co_await router_->answer(exchange);
    } catch (HttpError& error) {
      got = std::move(error.answer);
    }
    co_return got;
  }

  std::unique_ptr<Access> access_;
  std::unique_ptr<Files> files_;
  std::unique_ptr<ApiContext> context_;
  std::unique_ptr<Router> router_;
};

}  // namespace wan::serve
