#include "engine/job/scheduler.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/attempts.h"
#include "engine/job/first_video.h"
#include "engine/job/forecast.h"
#include "engine/job/stages.h"
#include "engine/request/field_names.h"
#include "engine/residency/failure.h"
#include "engine/residency/needs.h"
#include "models/files/error.h"

namespace wan {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Scheduler {
 public:
  Scheduler(const std::vector<JobRequest>& asked, WorkFolder& folder, const RunOptions& options, const Log& log,
            Progress& progress)
      : options_(options),
        log_(log),
        progress_(progress),
        networks_(options.networks ? *options.networks : own_networks_.emplace(log)),
        stages_(folder, networks_, log, progress_, options) {
    networks_.begin_run();
    networks_.ask([this] { progress_.check(); });
    result_.jobs.reserve(asked.size());
    tell_damage(folder);
    for (const JobRequest& job : asked) {
      const std::string name = job.name.empty() ? shown_name(job.request.out) : job.name;
      result_.jobs.push_back({.line = job.line, .request = job.request, .name = name});
      Job& made = jobs_.emplace_back(result_.jobs.back(), label(asked, job), job.output, of_line(log, job.line));
      made.id = job.id;
      made.attention = job.attention;
      made.replayed_tiles = job.tiles;
      made.expansion = job.expansion;
      made.replays_expansion = job.expansion.has_value();
    }
  }

  RunResult run() {
    try {
      each(all(), {"prepare", &Stages::is_unfinished, &Stages::prepare});
      stages_.end_preparing();
      stages_.files().count(jobs_);
      for (const Job& job : jobs_) expect(job);
      if (jobs_.size() > 1)
        log_("batch", {{"jobs", jobs_.size()},
                       {"finished_before", result_.count(JobState::Kept)},
                       {"models", models()},
                       {"order", options_.given_order ? "given" : "phases"}});
      for (const Jobs& round : rounds()) render(round);
      retry();
    } catch (const Cancelled&) {
      result_.cancelled = true;
    }
    if (own_networks_) networks_.drop();
    networks_.ask({});
    networks_.drop_texts();
    result_.expert_loads = networks_.expert_loads() - loads_before_;
    result_.prompts_encoded = stages_.prompts_encoded;
    result_.inputs_encoded = stages_.inputs_encoded;
    return std::move(result_);
  }

 private:
  using Jobs = std::vector<Job*>;

  struct Phase {
    const char* name;
    bool (Stages::*wanted)(const Job&) const;  // asked of unfinished jobs
    void (Stages::*stage)(Job&);
  };

  /// Of what is to come.
  void expect(const Job& job) {
    if (job.prepared && !job.label.empty() && job.result.state == JobState::Left)
      progress_.expect(job.label, largest_extent(job.request).tokens(),
                       double(job.reuse.forwards() - job.reuse.reused()) / double(kBranches));
  }

  void tell_damage(const WorkFolder& folder) const {
    if (const std::optional<int64_t> line = folder.damaged_line())
      log_("note", {{"subject", "work"},
                    {"text", "the journal of " + shown_path(folder.path().string()) + " is damaged from its line " +
                                 std::to_string(*line) + " on: what that told is looked at, or made, again"}});
  }

  /// A log whose events name the line of the manifest that they are about.
  static Log of_line(const Log& log, int64_t line) {
    if (line == 0) return log;
    return Log{[log, line](std::string_view event, const Log::Fields& fields) {
      Log::Fields with_line = {{"line", line}};
      with_line.update(fields);
      if (event == "note" || event == "quality")
        for (const char* words : {"text", "change"})
          if (with_line.contains(words)) with_line[words] = with_field_names(with_line[words].get<std::string>());
      log(event, with_line);
    }};
  }

  /// Renders once more, exactly, what is to be: behind all others, since that takes other forms of the networks.
  void retry() {
    Jobs again;
    for (Job* job : all())
      if (job->set_aside && !stopped_) again.push_back(&retry_of(*job));
    if (again.empty()) return;
    networks_.drop();  // memory is looked at while none are loaded
    each(again, {"prepare", &Stages::is_unfinished, &Stages::prepare});
    stages_.end_preparing();
    for (const Job* job : again) {
      if (job->finished || !job->prepared) continue;
      stages_.files().count(*job);
      expect(*job);
    }
    for (const Jobs& round : rounds()) render(round);
    for (Job* job : again) {
      Job& first = *std::ranges::find_if(jobs_, [&](const Job& other) { return &other == job->retry_of; });
      stages_.firsts().settle(first, *job, options_.keep_first);
      if (first.result.state != JobState::Left && options_.on_end) options_.on_end(first.result);
    }
  }

  /// The job that makes the other video of `job`.
  Job& retry_of(const Job& job) {
    retries_.push_back({.line = job.result.line, .request = exact_of(job.request), .name = job.result.name});
    Job& made = jobs_.emplace_back(retries_.back(), job.label, job.output, of_line(log_, job.result.line));
    made.id = "again " + job.key;
    made.replays_expansion = job.replays_expansion;
    made.retry_of = &job;
    made.expansion = job.expansion;  // the same text: nobody is asked again
    return made;
  }

  /// "2/12 NAME.mp4"; nothing for one alone.
  std::string label(const std::vector<JobRequest>& asked, const JobRequest& job) const {
    if (asked.size() == 1 && asked[0].line == 0) return "";
    return std::to_string(jobs_.size() + 1) + "/" + std::to_string(asked.size()) + " " +
           std::filesystem::path(job.name.empty() ? job.request.out : job.name).filename().string();
  }

  Jobs all() {
    Jobs jobs;
    for (Job& job : jobs_) jobs.push_back(&job);
    return jobs;
  }

  /// Which jobs go through the phases together: those of a model, or each by itself.
  std::vector<Jobs> rounds() {
    std::vector<Jobs> rounds;
    if (options_.given_order) {
      for (Job& job : jobs_) rounds.push_back({&job});
      return rounds;
    }
    for (Group& group : networks_.groups()) {
      Jobs round;
      for (Job& job : jobs_)
        if (job.group == &group) round.push_back(&job);
      if (!round.empty()) rounds.push_back(std::move(round));
    }
    return rounds;
  }

  /// How many models the jobs have between them.
  size_t models() const {
    std::set<const Group*> groups;
    for (const Job& job : jobs_)
      if (job.group) groups.insert(job.group);
    return groups.size();
  }

  void render(const Jobs& jobs) {
    for (const Phase& phase : {Phase{"inputs", &Stages::wants_input, &Stages::encode_input},
                               Phase{"prompts", &Stages::wants_latents, &Stages::encode_prompts},
                               Phase{"high_noise", &Stages::wants_high, &Stages::sample_high},
                               Phase{"low_noise", &Stages::wants_latents, &Stages::sample_low},
                               Phase{"decode", &Stages::wants_decode, &Stages::decode},
                               Phase{"speech", &Stages::wants_speech, &Stages::speak}}) {
      const auto start = Clock::now();
      const int64_t worked = each(jobs, phase);
      networks_.drop_texts();
      if (worked == 0) continue;
      result_.phase_seconds.emplace_back(phase.name, seconds_since(start));
      Log::Fields fields = {{"phase", phase.name}, {"jobs", worked}, {"seconds", seconds_since(start)}};
      if (const uint64_t bytes = networks_.peak_since_asked()) fields["device_bytes"] = bytes;
      log_("phase", fields);
    }
  }

  /// One job's failure is its own; nothing that it had saved is touched. Returns how many took part.
  int64_t each(const Jobs& jobs, const Phase& phase) {
    int64_t worked = 0;
    const auto wants = [&](const Job* job) {
      return !stopped_ && !job->finished && job->result.state != JobState::Failed && (stages_.*phase.wanted)(*job);
    };
    for (auto at = jobs.begin(); at != jobs.end(); ++at) {
      Job* job = *at;
      JobResult& result = job->result;
      if (!wants(job)) continue;
      ++worked;
      stages_.is_last_of_phase = std::none_of(at + 1, jobs.end(), wants);
      const auto start = Clock::now();
      try {
        if (options_.on_job) options_.on_job(result);
        stages_.files().note(*job);
        networks_.look_again();
        run_stage(phase, *job);
      } catch (const Cancelled&) {
        result.seconds += seconds_since(start);
        throw;
      } catch (const Withdrawn& withdrawn) {
        result.state = JobState::Failed;
        result.error = withdrawn.what();
        result.failure = std::current_exception();
        job->withdrawn = true;
        stages_.files().drop(*job);
      } catch (const std::exception& error) {
        result.state = JobState::Failed;
        result.error = result.line > 0 ? with_field_names(text_of(error)) : text_of(error);
        result.failure = std::current_exception();
        if (!job->label.empty()) log_("failed", {{"line", result.line}, {"out", result.name}, {"error", result.error}});
        stop_after(error);
      }
      result.seconds += seconds_since(start);
      if (!job->finished && result.state != JobState::Failed) continue;
      progress_.forget(job->label);
      if (options_.on_end && !job->set_aside && !job->retry_of) options_.on_end(result);
    }
    return worked;
  }

  /// Whether other jobs are begun after this failure: on a device that is lost each of them would end like it.
  void stop_after(const std::exception& error) {
    const bool lost = is_device_lost(error);
    if (lost && jobs_.size() > 1)
      log_("note", {{"subject", "device"}, {"text", "no other job is begun: each would end like this one"}});
    stopped_ = lost || options_.fail_fast;
  }

  /// Where the device runs out of memory, the stage goes on from what it saved.
  void run_stage(const Phase& phase, Job& job) {
    attempt({.stage = phase.name,
             .kept = "finished steps are kept",
             .device = [&job] { return job.group ? job.placement.device.str() : "the device"; },
             .answers = [this, &job] { return !job.group || still_answers(job.placement.device); },
             .make_room = [this](bool first) { return networks_.make_room(first); }},
            [&] { (stages_.*phase.stage)(job); });
  }

  bool still_answers(at::Device device) const {
    return options_.device_answers ? options_.device_answers(device) : answers(device);
  }

  const RunOptions& options_;
  const Log& log_;
  Forecast progress_;
  std::optional<NetworkPool> own_networks_;  // where the caller has none
  NetworkPool& networks_;
  const int64_t loads_before_ = networks_.expert_loads();
  Stages stages_;
  RunResult result_;
  std::list<JobResult> retries_;
  std::list<Job> jobs_;
  bool stopped_ = false;
};

}  // namespace

int64_t RunResult::count(JobState state) const {
  return std::count_if(jobs.begin(), jobs.end(), [&](const JobResult& job) { return job.state == state; });
}

RunResult run_jobs(const std::vector<JobRequest>& jobs, WorkFolder& folder, const RunOptions& options, const Log& log,
                   Progress& progress) {
  return Scheduler(jobs, folder, options, log, progress).run();
}

}  // namespace wan
