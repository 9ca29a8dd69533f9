// Looks at a job of a server until it ends, and brings its video.
#pragma once

#include <functional>
#include <set>
#include <stdexcept>
#include <string>

#include "tools/remote/answers.h"
#include "tools/remote/server.h"

namespace wan::remote {

/// Lines of a job's log that were not yet told, whatever repeats of them a new connection brings.
class NewLines {
 public:
  std::vector<LogLine> of(const std::vector<LogLine>& lines);

 private:
  std::set<std::string> told_;
};

/// Calls `show` with each status that the server's stream brings, until the job has ended; returns the last. A connection
/// that breaks off is made again. Throws as Server::stream, and ServerFailure where the server stays away.
JobView follow(Server& server, const std::string& id, const std::function<void(const JobView&)>& show);

/// A job ended without a video, though its request was right. Exit code 1.
struct JobFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The video of a job that has ended. Throws InvalidRequest with the errors of its fields where the request was wrong, else
/// JobFailure with what made it fail, or that it was cancelled.
VideoView result_of(Server& server, const std::string& id, const JobView& ended);

/// Writes the video to `out`, whole or not at all. Throws ServerFailure, std::runtime_error where the disk refuses.
void bring_video(Server& server, const VideoView& video, const std::string& out, const std::string& label);

}  // namespace wan::remote
