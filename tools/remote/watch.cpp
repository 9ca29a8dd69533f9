#include "tools/remote/watch.h"

#include <chrono>
#include <filesystem>

#include "engine/base/text.h"
#include "models/files/atomic_file.h"
#include "tools/remote/event_stream.h"

namespace wan::remote {
namespace {

/// Takes the events of one connection.
class Follower {
 public:
  explicit Follower(const std::function<void(const JobView&)>& show)
      : show_(show), events_([this](const std::string& data) { take(data); }) {}

  /// False once the job has ended.
  bool take_piece(std::string_view piece) {
    events_.take(piece);
    return !ended_;
  }
  const std::optional<JobView>& ended() const { return ended_; }
  bool any() const { return any_; }

 private:
  void take(const std::string& data) {
    if (ended_) return;
    const std::optional<JobView> job = read_status(read_answer(data));
    if (!job) throw ServerFailure("[server] sends an event that is no status of a job; is it a wan-serve?");
    any_ = true;
    if (job->state == JobView::Ended) ended_ = job;
    show_(*job);
  }

  const std::function<void(const JobView&)>& show_;
  EventStream events_;
  std::optional<JobView> ended_;
  bool any_ = false;
};

}  // namespace

std::vector<LogLine> NewLines::of(const std::vector<LogLine>& lines) {
  constexpr size_t kMost = 100'000;
  std::vector<LogLine> fresh;
  if (told_.size() > kMost) told_.clear();
  for (const LogLine& line : lines)
    if (told_.insert(line.time + '\n' + line.level + '\n' + line.message).second) fresh.push_back(line);
  return fresh;
}

JobView follow(Server& server, const std::string& id, const std::function<void(const JobView&)>& show) {
  int64_t failures = 0;
  for (;;) {
    Follower follower(show);
    try {
      server.stream(Server::job_path(id, "/status/stream?logs=1"), "ID",
                    [&](std::string_view piece) { return follower.take_piece(piece); });
      if (follower.ended()) return *follower.ended();
      throw NoAnswer("the stream ended before the job", true, false);
    } catch (const NoAnswer& none) {
      if (follower.ended()) return *follower.ended();
      if (follower.any()) failures = 0;
      server.pause_after(none, failures++);
    }
  }
}

VideoView result_of(Server& server, const std::string& id, const JobView& ended) {
  if (ended.cancelled()) throw JobFailure("[ID] " + id + " was cancelled");
  if (ended.failed()) {
    try {  // its result names the fields of a request that was wrong
      server.get_of_failed(Server::job_path(id), "ID");
    } catch (const ServerFailure&) {
    }
    throw JobFailure("[ID] " + id + " failed: " + (ended.error.empty() ? ended.error_type : ended.error));
  }
  const std::optional<VideoView> video = read_result(server.get(Server::job_path(id), "ID"));
  if (!video) throw ServerFailure("[server] " + shown_url(server.url()) + " gives a result without a video");
  return *video;
}

void bring_video(Server& server, const VideoView& video, const std::string& out, const std::string& label) {
  const std::string url = server.whole_url(video.url);
  for (int64_t failures = 0;; ++failures) {
    AtomicFile file(out);
    uint64_t bytes = 0;
    auto told = std::chrono::steady_clock::now();
    try {
      const HttpAnswer answer = server.ask_freely({.url = url}, [&](std::string_view piece) {
        file.write(piece.data(), piece.size());
        bytes += piece.size();
        const auto now = std::chrono::steady_clock::now();
        if (now - told < std::chrono::seconds(1)) return true;
        told = now;
        server.console().at({Stage::Fetch, int64_t(bytes), int64_t(video.bytes), "", label});
        return true;
      });
      if (is_later(answer.status)) throw NoAnswer("it answers " + std::to_string(answer.status), true, false);
      if (answer.status != 200) refuse(answer, "ID", url);
      if (bytes == 0 || (video.bytes > 0 && bytes != video.bytes))
        throw NoAnswer("the video came with " + std::to_string(bytes) + " of " + std::to_string(video.bytes) + " bytes",
                       true, false);
    } catch (const NoAnswer& none) {
      server.pause_after(none, failures);
      continue;
    }
    return file.commit();
  }
}

}  // namespace wan::remote
