// A wan-serve that is none: takes requests and files, and tells of its jobs what a test wrote down.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/web_server.h"

namespace wan {

class RemoteServer {
 public:
  using json = nlohmann::json;

  struct Upload {
    std::string headers, content;
  };
  /// What happens to a job: each status call and each event takes the next, the last one stays.
  struct Script {
    std::deque<json> states = {json{{"status", "COMPLETED"}, {"metrics", {{"inference_time", 2.5}}}}};
    std::string result_status = "200 OK";
    json result = {};  // empty: the video
    std::string video = "a video";
  };

  RemoteServer() : server_([this](WebClient& client) { serve(client); }) {}

  std::string url() const { return server_.url(""); }
  int requests() const { return server_.requests(); }

  /// Asked before all else, without a lock; true where it has answered.
  std::function<bool(WebClient&)> instead;
  /// Of each job, by the number of its submit, from 1.
  std::function<Script(int number, const json& body)> script = [](int, const json&) { return Script(); };

  std::vector<json> bodies() const { return locked(bodies_); }
  std::vector<std::string> endpoints() const { return locked(endpoints_); }
  std::string submit_headers() const { return locked(submit_headers_); }
  std::map<std::string, Upload> uploads() const { return locked(uploads_); }
  std::vector<std::string> cancelled() const { return locked(cancelled_); }
  static std::string id(int number) { return "0000-" + std::to_string(number); }
  /// A job that was never submitted by this test.
  std::string add_job(Script made) {
    const std::lock_guard lock(mutex_);
    bodies_.emplace_back();
    jobs_.push_back(std::move(made));
    return id(int(jobs_.size()));
  }

  static void answer(WebClient& client, const std::string& status, const json& body) {
    client.answer(status, "Content-Type: application/json\r\n", body.dump());
  }

 private:
  template <class Value>
  Value locked(const Value& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }

  void serve(WebClient& client) {
    if (instead && instead(client)) return;
    const std::string body = client.read_body(), &path = client.path;
    const std::lock_guard lock(mutex_);
    if (path.starts_with("/storage/upload/initiate?storage_type=fal-cdn-v3"))
      return initiate(client, json::parse(body));
    if (path.starts_with("/storage/put/")) {
      uploads_[path.substr(13)] = {client.headers, body};
      return answer(client, "200 OK", json::object());
    }
    if (client.method == "POST" && path.starts_with("/queue/")) return submit(client, json::parse(body));
    if (path.starts_with("/files/outputs/"))
      return client.answer("200 OK", "Content-Type: video/mp4\r\n", job(path.substr(15)).video);
    const std::string jobs = "/queue/fal-ai/wan/requests/";
    if (path.starts_with(jobs)) return about_job(client, path.substr(jobs.size()));
    answer(client, "404 Not Found", {{"detail", "Not Found"}});
  }

  void initiate(WebClient& client, const json& ticket) {
    const std::string name = std::to_string(++tickets_) + "_" + ticket.at("file_name").get<std::string>();
    answer(client, "200 OK", {{"file_url", url() + "/files/uploads/" + name}, {"upload_url", "/storage/put/" + name}});
  }

  void submit(WebClient& client, const json& body) {
    bodies_.push_back(body);
    endpoints_.push_back(client.path.substr(7));
    submit_headers_ = client.headers;
    jobs_.push_back(script(int(bodies_.size()), body));
    answer(client, "200 OK", {{"status", "IN_QUEUE"}, {"request_id", id(int(bodies_.size()))}, {"queue_position", 0}});
  }

  Script& job(const std::string& id) { return jobs_.at(size_t(std::stoi(id.substr(5))) - 1); }

  json next_state(Script& job) {
    const json state = job.states.front();
    if (job.states.size() > 1) job.states.pop_front();
    return state;
  }

  void about_job(WebClient& client, const std::string& rest) {
    const std::string id = rest.substr(0, rest.find('/')), call = rest.substr(id.size());
    if (!id.starts_with("0000-") || size_t(std::stoi(id.substr(5))) > jobs_.size())
      return answer(client, "404 Not Found", {{"detail", "Request not found"}});
    Script& found = job(id);
    if (call.starts_with("/status/stream")) {
      client.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: hello\n\n");
      for (json state = json::object(); state.value("status", "") != "COMPLETED";) {
        state = next_state(found);
        if (state.contains("cut")) return;  // the connection ends here
        if (state.contains("hang")) {
          found.states = {state};
          client.wait(60'000);
          return;
        }
        client.send("data: " + state.dump() + "\n\n");
      }
      return;
    }
    if (call.starts_with("/status")) return answer(client, "200 OK", next_state(found));
    if (call == "/cancel") {
      cancelled_.push_back(id);
      return answer(client, "202 Accepted", {{"status", "CANCELLATION_REQUESTED"}});
    }
    const json video = {{"video", {{"url", url() + "/files/outputs/" + id}, {"file_size", found.video.size()}}},
                        {"seed", 42}};
    answer(client, found.result_status, found.result.is_null() || found.result.empty() ? video : found.result);
  }

  mutable std::mutex mutex_;
  std::vector<json> bodies_;
  std::vector<std::string> endpoints_, cancelled_;
  std::string submit_headers_;
  std::map<std::string, Upload> uploads_;
  std::vector<Script> jobs_;
  int tickets_ = 0;
  WebServer server_;  // last: it ends before what it uses
};

}  // namespace wan
