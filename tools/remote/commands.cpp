#include "tools/remote/commands.h"

#include <filesystem>
#include <iostream>

#include "engine/base/text.h"
#include "engine/request/hosted.h"
#include "models/files/error.h"
#include "tools/cli/signals.h"
#include "tools/remote/server.h"
#include "tools/remote/upload.h"
#include "tools/remote/watch.h"

namespace wan::remote {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool in_json(const Command& command) {
  return command.log_format == "json";
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// How to go on with a job that stays at the server. The key is not said.
std::string at_server(const Command& command, const std::string& id, bool has_ended = false) {
  const std::string words = id + " --server " + public_url(command.server.url);
  if (has_ended) return "the job has ended at the server: wan-infer watch " + words + " looks at it again";
  return "the job goes on at the server: wan-infer watch " + words + " looks at it again, wan-infer cancel " + words +
         " ends it";
}

JobView status_of(Server& server, const std::string& id, bool logs, json* all = nullptr) {
  json status = server.get(Server::job_path(id, logs ? "/status?logs=1" : "/status?logs=0"), "ID");
  const std::optional<JobView> job = read_status(status);
  if (!job) throw ServerFailure("[server] " + shown_url(server.url()) + " answers without the status of a job");
  if (all) *all = std::move(status);
  return *job;
}

/// The first name that nothing has, as local runs choose it: NAME.mp4, NAME-2.mp4, ...
std::string free_name(const std::string& stem) {
  for (int64_t number = 1;; ++number) {
    const std::string name = stem + (number == 1 ? "" : "-" + std::to_string(number)) + ".mp4";
    if (!fs::exists(fs::symlink_status(name)) && !fs::exists(name + ".work")) return name;
  }
}

/// TASK-SEED where the server tells both, else the id.
std::string stem_of(const std::string& id, const JobView& job, const VideoView& video) {
  for (const Task task : kTasks)
    if (video.seed && job.endpoint == hosted_path(task))
      return std::string(task_name(task)) + "-" + std::to_string(*video.seed);
  return id;
}

/// Shows a job as it goes on: its place in the queue, its log, and a bar.
class Shower {
 public:
  Shower(const Command& command, Console& console) : command_(command), console_(console) {}

  void show(const JobView& job) {
    console_.check();
    if (job.state == JobView::Queued && job.position != position_) {
      position_ = job.position;
      console_.log()("queued", {{"before", position_}});
    }
    for (const LogLine& line : lines_.of(job.logs)) tell(line);
    if (!job.preview.empty() && job.preview != preview_) {
      preview_ = job.preview;
      console_.log()("preview", {{"url", plain_line(preview_)}});
    }
    if (job.report) console_.at(*job.report);
  }

 private:
  void tell(const LogLine& line) {
    if (in_json(command_))
      return console_.log()("log", {{"timestamp", line.time}, {"level", line.level}, {"message", line.message}});
    const bool plain = line.level == "INFO" || line.level == "STDOUT" || line.level == "STDERR" || line.level.empty();
    console_.say(plain ? line.message : line.level + " " + line.message);
  }

  const Command& command_;
  Console& console_;
  NewLines lines_;
  int64_t position_ = -1;
  std::string preview_;
};

void check_free(const std::string& out, bool overwrite) {
  if (!out.empty() && !overwrite && fs::exists(fs::symlink_status(out)))
    throw InvalidRequest("out", "must not be there already: " + shown_path(out) + "; --overwrite replaces it");
}

void print_log(const Command& command, const std::vector<LogLine>& lines) {
  for (const LogLine& line : lines) {
    if (in_json(command))
      std::cout << dumped({{"timestamp", line.time}, {"level", line.level}, {"message", line.message}}) << "\n";
    else
      std::cout << line.time << "  " << line.level << "  " << line.message << "\n";
  }
  if (!std::cout.flush()) throw std::runtime_error("[stdout] cannot be written");
}

}  // namespace

int run_submit(const Command& command, Console& console) {
  Server server(command.server, console);
  Uploads uploads(server);
  std::vector<std::string> given;
  for (const auto& [name, value] : command.fields.items()) given.push_back(name);
  const std::string path = std::string("/queue/") + hosted_path(command.request.task);
  constexpr int kTries = 5;
  for (int tries = 1;; ++tries) {
    bool sending = false;
    try {
      const json body = body_of(command.request, given, [&](const char* field, const std::string& path) {
        return uploads.url_of(field, path);
      });
      sending = true;
      const json answer = server.post(path, body, "request", {"X-Fal-Queue-Priority: " + command.server.priority});
      std::cout << submitted_id(answer) << "\n";
      return 0;
    } catch (const Cancelled&) {
      throw Cancelled(sending ? "the server may have got the request" : "nothing was asked of the server");
    } catch (const Later& later) {
      if (tries == kTries) throw;
      console.log()("retry", {{"seconds", double(later.pause.count()) / 1000}, {"why", later.what()}});
      server.wait(later.pause);
    } catch (const Unsure& unsure) {
      throw Unsure(std::string(unsure.what()) + "; it was not sent again");
    }
  }
}

int run_status(const Command& command, Console& console) {
  Server server(command.server, console);
  json all;
  const JobView job = status_of(server, command.input, in_json(command), &all);
  std::cout << (in_json(command) ? dumped(all) : state_text(job)) << "\n";
  return 0;
}

int run_watch(const Command& command, Console& console) {
  std::string out = command.fields.value("out", "");
  check_free(out, command.overwrite);
  Server server(command.server, console);
  server.be_patient();
  const std::string& id = command.input;
  bool begun = false, has_ended = false;
  try {
    Shower shower(command, console);
    const JobView ended = follow(server, id, [&](const JobView& job) {
      begun = true;
      has_ended = job.state == JobView::Ended;
      shower.show(job);
    });
    const VideoView video = result_of(server, id, ended);
    if (out.empty()) out = free_name(stem_of(id, ended, video));
    bring_video(server, video, out, shown_name(out));
    Log::Fields fields = {{"out", shown_name(out)}, {"bytes", fs::file_size(out)}};
    if (video.seed) fields["seed"] = *video.seed;
    fields["seconds"] = ended.seconds;
    console.log()("done", fields);
    return 0;
  } catch (const Cancelled&) {
    throw Cancelled(at_server(command, id, has_ended));
  } catch (const ServerFailure& failure) {
    if (!begun) throw;
    throw ServerFailure(std::string(failure.what()) + "; wan-infer watch " + id + " looks again");
  }
}

int run_cancel(const Command& command, Console& console) {
  Server server(command.server, console);
  const json answer = server.put(Server::job_path(command.input, "/cancel"), "ID");
  std::cout << (in_json(command) ? dumped(answer) : "it ends at once where it waits, at its next step where it runs")
            << "\n";
  return 0;
}

int run_logs(const Command& command, Console& console) {
  Server server(command.server, console);
  if (!command.follow) return print_log(command, status_of(server, command.input, true).logs), 0;
  server.be_patient();
  NewLines lines;
  bool has_ended = false;
  try {
    follow(server, command.input, [&](const JobView& job) {
      has_ended = job.state == JobView::Ended;
      print_log(command, lines.of(job.logs));
    });
  } catch (const Cancelled&) {
    throw Cancelled(at_server(command, command.input, has_ended));
  }
  return 0;
}

}  // namespace wan::remote
