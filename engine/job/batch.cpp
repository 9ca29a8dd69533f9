#include "engine/job/batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <list>

#include "engine/base/error.h"
#include "engine/job/attention_notes.h"
#include "engine/job/batch_job.h"
#include "engine/job/fetched.h"
#include "engine/job/forecast.h"
#include "engine/job/render.h"
#include "engine/job/speech.h"
#include "engine/job/work_files.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/sampling/attention_record.h"
#include "engine/sampling/denoise.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string one_text(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  return from_torch ? from_torch->what_without_backtrace() : error.what();
}

class Batch {
 public:
  Batch(const std::vector<ManifestJob>& manifest, Journal& journal, const BatchOptions& options, const Log& log,
        Progress& progress)
      : journal_(journal), options_(options), log_(log), progress_(progress), files_(journal), attention_(journal) {
    for (const ManifestJob& job : manifest) result_.jobs.push_back({.line = job.line, .request = job.request});
    for (JobResult& result : result_.jobs) {
      BatchJob& job = jobs_.emplace_back();
      job.result = &result;
      job.request = result.request;
      job.label = std::to_string(jobs_.size()) + "/" + std::to_string(manifest.size()) + " " +
                  fs::path(result.request.out).filename().string();
    }
  }

  BatchResult run() {
    try {
      each(all(), {"prepare", &Batch::is_unfinished, &Batch::prepare});
      files_.count(jobs_);
      log_("batch", {{"jobs", jobs_.size()},
                     {"finished_before", result_.count(JobState::Kept)},
                     {"models", groups_.size()},
                     {"order", options_.given_order ? "given" : "phases"}});
      for (const std::vector<BatchJob*>& round : rounds()) render(round);
    } catch (const Cancelled&) {
      result_.cancelled = true;
    }
    drop_networks();
    return std::move(result_);
  }

 private:
  using Jobs = std::vector<BatchJob*>;

  Jobs all() {
    Jobs jobs;
    for (BatchJob& job : jobs_) jobs.push_back(&job);
    return jobs;
  }

  /// Which jobs go through the phases together: those of a model folder, or each by itself.
  std::vector<Jobs> rounds() {
    std::vector<Jobs> rounds;
    for (BatchGroup& group : groups_) {
      rounds.emplace_back();
      for (BatchJob& job : jobs_)
        if (job.group == &group) rounds.back().push_back(&job);
    }
    if (!options_.given_order) return rounds;
    rounds.clear();
    for (BatchJob& job : jobs_) rounds.push_back({&job});
    return rounds;
  }

  struct Phase {
    const char* name;
    bool (Batch::*wanted)(const BatchJob&) const;  // asked of unfinished jobs
    void (Batch::*stage)(BatchJob&);
  };

  bool is_unfinished(const BatchJob&) const { return true; }
  bool wants_speech(const BatchJob& job) const { return job.request.task == Task::S2V; }
  bool wants_decode(const BatchJob& job) const { return !wants_speech(job); }
  bool wants_latents(const BatchJob& job) const { return !wants_speech(job) && !fs::exists(files_.latents(job)); }
  bool wants_input(const BatchJob& job) const { return !job.input.empty() && wants_latents(job); }
  bool wants_high(const BatchJob& job) const { return first_low_step(job.schedule) > 0 && wants_latents(job); }

  /// One job's failure is its own; nothing that it had saved is touched. Returns how many took part.
  int64_t each(const Jobs& jobs, const Phase& phase) {
    int64_t worked = 0;
    for (BatchJob* job : jobs) {
      JobResult& result = *job->result;
      if (stopped_ || job->finished || result.state == JobState::Failed) continue;
      if (!(this->*phase.wanted)(*job)) continue;
      ++worked;
      const auto start = Clock::now();
      try {
        files_.note(*job);
        (this->*phase.stage)(*job);
      } catch (const Cancelled&) {
        result.seconds += seconds_since(start);
        throw;
      } catch (const std::exception& error) {
        result.state = JobState::Failed;
        result.error = one_text(error);
        progress_.forget(job->label);
        log_("failed", {{"line", result.line}, {"out", result.request.out}, {"error", result.error}});
        stopped_ = options_.fail_fast;
      }
      result.seconds += seconds_since(start);
    }
    return worked;
  }

  void render(const Jobs& jobs) {
    for (const Phase& phase : {Phase{"inputs", &Batch::wants_input, &Batch::encode_input},
                               Phase{"prompts", &Batch::wants_latents, &Batch::encode_prompts},
                               Phase{"high_noise", &Batch::wants_high, &Batch::sample_high},
                               Phase{"low_noise", &Batch::wants_latents, &Batch::sample_low},
                               Phase{"decode", &Batch::wants_decode, &Batch::decode},
                               Phase{"speech", &Batch::wants_speech, &Batch::speak}}) {
      const auto start = Clock::now();
      const int64_t worked = each(jobs, phase);
      if (worked > 0) log_("phase", {{"phase", phase.name}, {"jobs", worked}, {"seconds", seconds_since(start)}});
      text_.reset();  // the states of all prompts, on the device
    }
  }

  // --- the stages of one job

  void prepare(BatchJob& job) {
    names_.set_key(job);
    files_.recall(job);
    const json* note = journal_.find(job.key);
    if (note && note->value("done", "") == fs::absolute(job.request.out) && fs::exists(job.request.out)) {
      job.finished = true;
      job.result->state = JobState::Kept;
      return;
    }
    job.placement = resolve_placement(job.request, options_.contexts);
    BatchGroup& group = group_of(job);
    job.record = make_record(job.request, job.placement, group.files);
    job.schedule = make_schedule(job.request);
    job.group = &group;
    names_.set_names(job);
    files_.settle(job);
    const Extent extent = largest_extent(job.request);
    // Now, while no weights are loaded: afterwards they would count as memory that is taken.
    const MemoryNeed need = memory_need(group.folder, extent, job.placement);
    check_fits(need, extent, job.placement);
    group.working = std::max(group.working, need.working);
    progress_.expect(job.label, extent.tokens(), int64_t(job.schedule.size()));
  }

  /// Reads the inputs, settles what follows from them, and runs the VAE on them.
  void encode_input(BatchJob& job) {
    Request& request = job.request;
    const fs::path encoded = files_.encoding(job.input);
    const json* settled = journal_.find(job.name);
    if (settled && fs::exists(encoded) && (!settled->at("keeps_sound").get<bool>() || fs::exists(job.video))) {
      settled->at("width").get_to(request.width);
      settled->at("height").get_to(request.height);
      settled->at("num_frames").get_to(request.num_frames);
      job.audio_from = settled->at("keeps_sound").get<bool>() ? job.video : "";
      return;
    }
    FetchedMedia media(request, files_.copies());
    Inputs inputs;
    media.reading([&] { inputs = load_inputs(request, log_); });
    media.keep();
    job.audio_from = inputs.keep_audio_from;
    if (job.schedule.empty()) {
      log_("warning", {{"out", request.out}, {"text", kNoStepText}});
      write_input(request, inputs, job.record);
      return finish(job);
    }
    if (!fs::exists(encoded)) {
      attention_.pin(job.placement, job.input);
      const Encoded states = encode_inputs(networks_of_group(job), request, job.schedule, inputs, progress_, job.label);
      attention_.note(job.placement, job.input);
      save_encoded(encoded, states);
      ++result_.inputs_encoded;
    }
    journal_.note(job.name, {{"width", request.width},
                             {"height", request.height},
                             {"num_frames", request.num_frames},
                             {"keeps_sound", !job.audio_from.empty()}});
  }

  void encode_prompts(BatchJob& job) {
    auto encode = [&](const std::string& name, const std::string& prompt) {
      if (name.empty() || fs::exists(files_.encoding(name))) return;
      progress_.at({Stage::Encode, 0, 1, "", job.label});
      Networks& networks = networks_of_group(job);
      if (!text_) text_.emplace(networks);
      attention_.pin(job.placement, name);
      Encoded encoded;
      encoded.conditioning.positive = (*text_)(prompt);
      attention_.note(job.placement, name);
      save_encoded(files_.encoding(name), encoded);
      ++result_.prompts_encoded;
    };
    encode(job.positive, job.request.prompt);
    encode(job.negative, job.request.negative_prompt);
  }

  void sample_high(BatchJob& job) { sample(job, first_low_step(job.schedule)); }
  void sample_low(BatchJob& job) { sample(job, int64_t(job.schedule.size())); }

  /// Goes on from the last saved state up to step `end`, and leaves a state, or after the last step the latents.
  void sample(BatchJob& job, int64_t end) {
    const at::Device device = job.placement.device;
    const fs::path path = files_.sampling(job);
    const Encoded encoded = load_encodings(job);
    Sampling state = fs::exists(path) ? load_sampling(path, job.request.solver, job.schedule, device)
                                      : begin_sampling(job.request.solver, job.schedule,
                                                       first_sample(job.request, job.schedule, encoded, job.placement));
    auto save = [&](const Sampling& now) {
      attention_.note(job.placement, job.name);
      save_sampling(path, now);
    };
    attention_.pin(job.placement, job.name);
    Guidance guidance(networks_of_group(job), encoded.conditioning);
    denoise(state, job.schedule, end, std::ref(guidance), progress_, job.label, {options_.save_every, save});
    if (end < int64_t(job.schedule.size())) return save(state);
    attention_.note(job.placement, job.name);
    Record record = job.record;
    for (const std::string& name : {job.positive, job.negative, job.input, job.name})
      record.attention.merge(attention_.noted(name));
    save_latents(files_.latents(job), {state.x, job.request.num_frames, job.audio_from, record});
    journal_.remove(path.filename().string());
  }

  void decode(BatchJob& job) {
    SavedLatents saved = load_latents(files_.latents(job));
    if (!saved.audio_from.empty()) saved.audio_from = job.video;  // the work folder may have moved
    if (!saved.audio_from.empty() && !fs::exists(job.video)) {
      log_("warning", {{"out", job.request.out}, {"text", "without sound: " + job.video + " is gone"}});
      saved.audio_from.clear();
    }
    write_video(networks_of_group(job), saved, job.request.out, {}, progress_, job.label);
    finish(job);
  }

  /// Speech goes through its stages clip by clip; each clip's latents are kept in the job's folder.
  void speak(BatchJob& job) {
    wan::speak(networks_of_group(job), job.request, job.record, files_.clips(job), {}, log_, progress_, job.label,
               [&] { finish(job); });
  }

  void finish(BatchJob& job) {
    journal_.note(job.key, {{"done", fs::absolute(job.request.out)}, {"files", job.files}});
    job.finished = true;
    job.result->state = JobState::Done;
    progress_.forget(job.label);
    files_.drop(job);
    log_("finished", {{"line", job.result->line}, {"out", job.request.out}});
  }

  // --- what the stages need

  Encoded load_encodings(const BatchJob& job) const {
    const at::Device device = job.placement.device;
    Encoded encoded;
    if (!job.input.empty()) encoded = load_encoded(files_.encoding(job.input), device);
    encoded.conditioning.positive = load_encoded(files_.encoding(job.positive), device).conditioning.positive;
    if (!job.negative.empty())
      encoded.conditioning.negative = load_encoded(files_.encoding(job.negative), device).conditioning.positive;
    return encoded;
  }

  BatchGroup& group_of(const BatchJob& job) {
    ModelFolder folder = open_model_folder(job.request.model, job.request.task);
    for (BatchGroup& group : groups_)
      if (fs::equivalent(group.folder.high_noise, folder.high_noise) &&
          group.placement.device == job.placement.device && group.placement.dtype == job.placement.dtype &&
          group.placement.precision == job.placement.precision)
        return group;
    std::vector<FileIdentity> files = identities(folder);
    return groups_.emplace_back(BatchGroup{std::move(folder), job.placement, std::move(files)});
  }

  /// The networks of the job's group; those of another group go first.
  Networks& networks_of_group(const BatchJob& job) {
    if (loaded_group_ != job.group) {
      drop_networks();
      warn_of_kernels(*job.placement.context, log_);
      warn_of_cudnn(job.placement, log_);
      networks_.emplace(job.group->folder, job.group->placement, job.group->working, log_);
      loaded_group_ = job.group;
    }
    return *networks_;
  }

  void drop_networks() {
    text_.reset();
    if (!networks_) return;
    result_.expert_loads += networks_->expert_loads();
    networks_.reset();
    release_cached(loaded_group_->placement.device);
    loaded_group_ = nullptr;
  }

  Journal& journal_;
  const BatchOptions& options_;
  const Log& log_;
  Forecast progress_;
  JobNames names_;
  WorkFiles files_;
  AttentionNotes attention_;
  std::list<BatchGroup> groups_;
  std::list<BatchJob> jobs_;
  std::optional<Networks> networks_;
  std::optional<TextStates> text_;
  const BatchGroup* loaded_group_ = nullptr;
  BatchResult result_;
  bool stopped_ = false;
};

}  // namespace

int64_t BatchResult::count(JobState state) const {
  return std::count_if(jobs.begin(), jobs.end(), [&](const JobResult& job) { return job.state == state; });
}

BatchResult render_batch(const std::vector<ManifestJob>& jobs, Journal& journal, const BatchOptions& options,
                         const Log& log, Progress& progress) {
  return Batch(jobs, journal, options, log, progress).run();
}

}  // namespace wan
