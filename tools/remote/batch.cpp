#include "tools/remote/batch.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <map>

#include "engine/base/text.h"
#include "engine/job/work_folder.h"
#include "engine/request/files.h"
#include "engine/request/hosted.h"
#include "engine/request/manifest.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "tools/cli/batch_report.h"
#include "tools/remote/server.h"
#include "tools/remote/upload.h"
#include "tools/remote/watch.h"

namespace wan::remote {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// What the journal says of a line, under "at_server".
constexpr const char* kSending = "sending";  // it is not known whether the server has it
constexpr const char* kRefused = "refused";  // the server did not take it
constexpr const char* kSent = "sent";        // the server has it under "id"
constexpr const char* kBrought = "brought";  // its video lies at "place"
constexpr const char* kFailed = "failed";    // there, for "error"

/// One job of the manifest.
struct Line {
  ManifestJob job;
  std::string key, label;
  std::string id;        // at the server; empty: not sent
  bool running = false;  // when it was last looked at
  ReportRow row;

  bool open() const { return row.state == "left"; }
};

/// Digests of the files of inputs, each read once.
class Contents {
 public:
  /// Throws Cancelled as `progress` does.
  std::string digest(const std::string& path, Progress& progress) {
    const auto [found, fresh] = digests_.try_emplace(path);
    if (fresh) found->second = content_of_file(path, [&](uint64_t) { progress.check(); }).sha256;
    return found->second;
  }

 private:
  std::map<std::string, std::string> digests_;
};

std::string place_of(const std::string& out) {
  return fs::absolute(out).lexically_normal().string();
}

class Batch {
 public:
  Batch(const Command& command, std::vector<ManifestJob> jobs, WorkFolder& folder, Console& console)
      : command_(command), folder_(folder), console_(console), server_(command.server, console), uploads_(server_) {
    server_.be_patient();
    Contents contents;
    std::map<std::string, int64_t> equals;
    for (ManifestJob& job : jobs) {
      const std::string label = std::to_string(lines_.size() + 1) + "/" + std::to_string(jobs.size()) + " " +
                                fs::path(job.request.out).filename().string();
      ReportRow row{.line = job.line,
                    .task = task_name(job.request.task),
                    .out = job.name,
                    .seed = job.request.seed,
                    .state = "left",
                    .seconds = 0};
      std::string key = key_of(job, contents);
      key += " " + std::to_string(++equals[key]);
      lines_.push_back({.job = std::move(job), .key = key, .label = label, .id = {}, .running = false, .row = row});
    }
  }

  void recall() {
    refuse_other_server();
    for (Line& line : lines_) recall(line);
  }

  /// Until nothing is open.
  void run() {
    while (any_open()) {
      send_all();
      const Clock::time_point begin = Clock::now();
      look_at_all();
      if (any_open()) server_.wait(pause_until_next(Clock::now() - begin));
    }
  }

  std::vector<ReportRow> rows() const {
    std::vector<ReportRow> rows;
    for (const Line& line : lines_) rows.push_back(line.row);
    return rows;
  }
  bool any_open() const {
    return std::any_of(lines_.begin(), lines_.end(), [](const Line& line) { return line.open(); });
  }

 private:
  /// Names the values that are sent and the content of the files, not the output.
  std::string key_of(const ManifestJob& job, Contents& contents) const {
    const json body = body_of(job.request, job.given, [&](const char* field, const std::string& path) {
      try {
        return contents.digest(path, console_);
      } catch (const std::system_error& error) {
        throw InvalidRequest("line " + std::to_string(job.line) + ", " + field,
                             "cannot be read: " + shown_path(path) + ": " + error.code().message());
      }
    });
    return std::string("server ") + sha256({hosted_path(job.request.task), " ", body.dump()});
  }

  void refuse_other_server() const {
    for (const Line& line : lines_) {
      const json* note = folder_.find(line.key);
      if (!note || note->value("at_server", "") != kSent || note->value("server", "") == server_.url()) continue;
      throw InvalidRequest("--server", "must be the one that has jobs of this batch, " +
                                           shown_url(note->value("server", "")) + ", got " + shown_url(server_.url()) +
                                           "; for another server, --work names another folder");
    }
  }

  void recall(Line& line) {
    const std::string& out = line.job.request.out;
    const json* note = folder_.find(line.key);
    const std::string state = note ? note->value("at_server", "") : "";
    const std::string id = note ? note->value("id", "") : "";
    if (state == kBrought && note->value("place", "") == place_of(out) && fs::exists(out)) {
      line.row.state = "kept";
      return;
    }
    if (state == kSent || (state == kBrought && note->value("server", "") == server_.url())) {
      line.id = id;
    } else if (state == kFailed && !command_.resend) {
      return fail(line, note->value("error", "failed") + "; --resend sends it again");
    } else if (state == kSending && !command_.resend) {
      return fail(line,
                  "an earlier run ended while it was being sent, and the server may have it; --resend sends it again");
    }
    const bool made_here =
        folder_.any_note([&](const json& other) { return other.value("place", "") == place_of(out); });
    if (fs::exists(fs::symlink_status(out)) && !command_.overwrite && !made_here)
      fail(line, "[out] must not be there already, and " + shown_path(out) +
                     " is another request's, or does not say whose; --overwrite replaces it");
  }

  void note(const Line& line, const char* state, json more = json::object()) {
    more["at_server"] = state;
    more["server"] = server_.url();
    if (!line.id.empty()) more["id"] = line.id;
    folder_.note(line.key, more);
  }

  void fail(Line& line, const std::string& why) {
    line.row.state = "failed";
    line.row.error = why;
    console_.log()("failed", {{"line", line.row.line}, {"out", line.row.out}, {"error", why}});
  }

  /// Those that wait for it, until the server wants to be asked later.
  void send_all() {
    for (Line& line : lines_) {
      if (!line.open() || !line.id.empty()) continue;
      if (Clock::now() < send_after_) return;
      try {
        send(line);
      } catch (const Later& later) {
        not_taken(line);
        send_after_ = Clock::now() + later.pause;
        if (!told_later_) console_.log()("waits", {{"line", line.row.line}, {"why", later.what()}});
        told_later_ = true;
        return;
      } catch (const Unsure& unsure) {
        fail(line, std::string(unsure.what()) + "; --resend sends it again");
      } catch (const WrongKey&) {
        not_taken(line);
        throw;
      } catch (const ServerFailure&) {
        not_taken(line);
        throw;
      } catch (const InvalidRequest& invalid) {
        not_taken(line);
        fail(line, invalid.what());
      }
    }
  }

  void not_taken(const Line& line) {
    const json* last = folder_.find(line.key);
    if (last && last->value("at_server", "") == kSending) note(line, kRefused);
  }

  void send(Line& line) {
    const Request& request = line.job.request;
    const json body = body_of(request, line.job.given,
                              [&](const char* field, const std::string& path) { return uploads_.url_of(field, path); });
    note(line, kSending);
    const json answer = server_.post(std::string("/queue/") + hosted_path(request.task), body, "request",
                                     {"X-Fal-Queue-Priority: " + command_.server.priority});
    line.id = submitted_id(answer);
    note(line, kSent);
    told_later_ = false;
    console_.log()("sent", {{"line", line.row.line}, {"out", line.row.out}, {"id", line.id}});
  }

  void look_at_all() {
    for (Line& line : lines_) {
      if (!line.open() || line.id.empty()) continue;
      try {
        look_at(line);
      } catch (const WrongKey&) {
        throw;
      } catch (const InvalidRequest& invalid) {
        if (invalid.errors.front().field == "ID")
          lose(line, invalid.what());
        else
          end_badly(line, invalid.what());
      }
    }
  }

  /// The server does not know the job, or another key's: what is known of it stays noted, unless it is sent again.
  void lose(Line& line, const std::string& why) {
    if (!command_.resend) return fail(line, why + "; --resend sends it again");
    line.id.clear();
  }

  void end_badly(Line& line, const std::string& why) {
    note(line, kFailed, {{"error", why}});
    fail(line, why + "; --resend sends it again");
  }

  void look_at(Line& line) {
    const std::optional<JobView> job = read_status(server_.get(Server::job_path(line.id, "/status?logs=0"), "ID"));
    if (!job) throw ServerFailure("[server] " + shown_url(server_.url()) + " answers without the status of a job");
    line.running = job->state == JobView::Running;
    if (line.running && job->report) {
      Report report = *job->report;
      report.job = line.label;
      report.batch_seconds.reset();
      console_.at(report);
    }
    if (job->state != JobView::Ended) return;
    line.row.seconds = job->seconds;
    std::optional<VideoView> video;
    try {
      video = result_of(server_, line.id, *job);
    } catch (const JobFailure& failure) {
      return end_badly(line, failure.what());
    }
    const std::string& out = line.job.request.out;
    bring_video(server_, *video, out, line.label);
    note(line, kBrought, {{"place", place_of(out)}});
    line.row.state = "done";
    console_.log()("finished", {{"line", line.row.line}, {"out", line.row.out}});
  }

  /// A second between two looks, more where many wait, so that looking costs the server little.
  std::chrono::milliseconds pause_until_next(Clock::duration took) const {
    const auto open = std::count_if(lines_.begin(), lines_.end(), [](const Line& line) { return line.open(); });
    const auto round = std::max(std::chrono::milliseconds(1000), std::chrono::milliseconds(20 * open));
    const auto left = round - std::chrono::duration_cast<std::chrono::milliseconds>(took);
    return std::max(left, std::chrono::milliseconds(100));
  }

  const Command& command_;
  WorkFolder& folder_;
  Console& console_;
  Server server_;
  Uploads uploads_;
  std::vector<Line> lines_;
  Clock::time_point send_after_{};
  bool told_later_ = false;
};

}  // namespace

// The manifest is read before anything is made on disk: a wrong one leaves no work folder.
int run_batch(const Command& command, Console& console) {
  const uint64_t draw = WorkFolder::draw_number(command.work);
  std::vector<ManifestJob> jobs = read_manifest(command.input, {.draw = draw, .by_server = true});
  WorkFolder folder(command.work, draw);
  Batch batch(command, std::move(jobs), folder, console);
  const auto report = [&](bool cancelled) {
    const std::vector<ReportRow> rows = batch.rows();
    std::cout << report_text(rows) << std::flush;
    nlohmann::ordered_json all = report_json(rows);
    all["cancelled"] = cancelled;
    write_report(fs::path(command.work) / "report.json", all);
    return std::any_of(rows.begin(), rows.end(), [](const ReportRow& row) { return row.state == "failed"; });
  };
  batch.recall();
  try {
    batch.run();
  } catch (const Cancelled&) {
    report(true);
    throw Cancelled(
        "what was sent goes on at the server: the same command looks at it again, wan-infer cancel ID --server " +
        public_url(command.server.url) + " ends one");
  } catch (const ServerFailure& failure) {
    report(false);
    throw ServerFailure(std::string(failure.what()) + "; the same command goes on where this one ended");
  }
  return report(false) ? 1 : 0;
}

}  // namespace wan::remote
