// The stages of one job. Each leaves its result in the work folder and goes on from what lies there, so that a run can
// end between any two of them, or at any step of the sampling.
#pragma once

#include "engine/job/attention_notes.h"
#include "engine/job/first_video.h"
#include "engine/job/input_safety.h"
#include "engine/job/network_pool.h"
#include "engine/job/preflight.h"
#include "engine/job/previews.h"
#include "engine/job/task.h"
#include "engine/job/tile_notes.h"
#include "engine/job/work_files.h"

namespace wan {

class Stages {
 public:
  /// `progress` and `log` are told of every stage.
  Stages(WorkFolder& folder, NetworkPool& networks, const Log& log, Progress& progress, const RunOptions& options)
      : folder_(folder),
        networks_(networks),
        files_(folder),
        attention_(folder),
        tiles_(folder),
        firsts_(folder, log, options.overwrite),
        previews_(options.previews, log),
        expander_(folder, options.expander_key, log),
        log_(log),
        progress_(progress),
        options_(options) {}

  WorkFiles& files() { return files_; }
  FirstVideos& firsts() { return firsts_; }
  /// Names and files of the job, and whether it is finished; what it needs of the machine. Throws ModelError, and
  /// InvalidRequest where it does not fit.
  void prepare(Job& job);
  /// After the last job is prepared: forgets what was found for them.
  void end_preparing() {
    preflight_.reset();
    input_safety_ = {};
  }

  // Whether the job needs a stage; asked of unfinished jobs.
  bool is_unfinished(const Job&) const { return true; }
  bool wants_speech(const Job& job) const { return job.request.task == Task::S2V; }
  bool wants_decode(const Job& job) const { return !wants_speech(job); }
  bool wants_latents(const Job& job) const {
    return !wants_speech(job) && !std::filesystem::exists(files_.latents(job));
  }
  bool wants_input(const Job& job) const { return !job.input.empty() && wants_latents(job); }
  bool wants_high(const Job& job) const {
    return !wants_speech(job) && job.schedule->first_low() > 0 && wants_latents(job);
  }

  /// Reads the inputs, settles what follows from them, and runs the VAE on them.
  void encode_input(Job& job);
  void encode_prompts(Job& job);
  void sample_high(Job& job) { sample(job, job.schedule->first_low()); }
  void sample_low(Job& job) { sample(job, job.schedule->size()); }
  void decode(Job& job);
  /// Speech goes through its stages clip by clip.
  void speak(Job& job);

  int64_t prompts_encoded = 0, inputs_encoded = 0;
  bool is_last_of_phase = false;  // no other job needs the networks of the phase: set before each stage

 private:
  // Of the notes about jobs: what was said of a finished one, and why a video was refused.
  static constexpr const char *kSafetySaid = "safety", *kRefused = "refused";

  void end_finished(Job& job);
  Run run_of(const Job& job) const;
  void look_ahead(Job& job);
  void begin_preview(Job& job);
  void expand(Job& job);
  std::vector<std::string> seen_pictures(Job& job);
  std::optional<VaeTiles> tiles_before(const Job& job) const;
  void settle_tiles(const Job& job, const std::string& name);
  void tell_resumed(const Job& job) const;
  static FrameChain chain(const Job& job);
  bool has_encoding(const Job& job) const;
  bool made_here(const std::string& out) const;
  /// Where an output lies, seen from the work folder: what notes call it.
  std::string place_of(const std::string& out) const;
  bool recall_input(Job& job) const;
  InputFiles fetch(Job& job);
  Inputs load(Job& job, const InputFiles& files);
  Encoded load_encodings(const Job& job) const;
  void sample(Job& job, int64_t end);
  SafetyRecord look_at_inputs(const Job& job, const InputFiles& files, bool rendered, Notes& notes);
  void refuse_again(Job& job, const nlohmann::json& note) const;
  void end_with(Job& job, const std::function<void()>& work);
  /// What is captured of the job, or a warning that nothing is.
  void write_capture(Job& job) const;
  void finish(Job& job);

  WorkFolder& folder_;
  NetworkPool& networks_;
  JobNames names_;
  WorkFiles files_;
  AttentionNotes attention_;
  TileNotes tiles_;
  FirstVideos firsts_;
  Previews previews_;
  Expander expander_;
  const Log& log_;
  Progress& progress_;
  const RunOptions& options_;
  std::optional<Preflight> preflight_;
  InputSafety input_safety_;
  uint64_t waiting_ = 0;  // bytes that the jobs prepared so far may yet need in the work folder
};

}  // namespace wan
