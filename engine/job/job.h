// One job: what was asked for, which networks it shares with others, and where its work lies meanwhile.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "engine/frames/preview_file.h"
#include "engine/job/expansion.h"
#include "engine/job/output_safety.h"
#include "engine/job/record.h"
#include "engine/job/video_file.h"
#include "engine/request/schedule.h"
#include "engine/request/step_reuse.h"
#include "engine/residency/loras.h"
#include "engine/residency/networks.h"
#include "engine/sampling/attention_record.h"
#include "engine/sampling/captured_heads.h"
#include "engine/sampling/residual_meter.h"

namespace wan {

struct Job;
struct JobResult;
class NetworkPool;

struct RunOptions {
  bool given_order = false;                                        // job by job, not phase by phase
  bool fail_fast = false;                                          // stop at the first job that fails
  bool overwrite = false;                                          // replace files that this folder did not make
  std::chrono::milliseconds save_every = std::chrono::minutes(1);  // the longest time between saved states
  Contexts* contexts = nullptr;         // of the kernels; null: default options and no choice of attention
  DeviceBudget::Hook budget_hook = {};  // of tests
  DeviceBudget::Look budget_look = {};  // of tests: what another program leaves
  std::function<bool(at::Device)> device_answers = {};  // of tests; empty: answers() of engine/residency/failure.h
  /// Networks that earlier runs loaded and later ones may go on with. Null: the run's own, which go at its end.
  NetworkPool* networks = nullptr;
  /// Before each stage of a job, and before it is prepared: what is reported and asked from then on is about that job.
  /// May throw Withdrawn, which ends it.
  std::function<void(const JobResult&)> on_job = {};
  /// A job has just ended: done, kept or failed. Not called for those that are left.
  std::function<void(const JobResult&)> on_end = {};
  bool keep_first = true;  // of --quality-check retry: the first video stays beside the second
  /// Measures all runs of denoising; jobs but speech then end with their last step, without a file. Null: none does.
  ResidualMeter* meter = nullptr;
  std::string expander_key = {};        // for the language servers that requests name; empty: none
  std::filesystem::path previews = {};  // folder that keeps fitted maps (PreviewCache); empty: none does
  /// Run::on_estimate of a job. Called by the thread that renders.
  std::function<void(const Job& job, const at::Tensor& estimate, int64_t step)> on_estimate = {};
  /// After the file OutputOptions::preview of a job was replaced; the same thread.
  std::function<void(const Job& job)> on_preview = {};
};

enum class JobState {
  Left,    // not done, and not failed: the run ended before
  Done,    // rendered in this run
  Kept,    // had been finished before
  Failed,  // `error` says why; `failure` is Withdrawn where the user took it back
};

/// What came of a job.
struct JobResult {
  int64_t line;  // of the manifest
  Request request;
  std::string name;  // of the output, in logs and reports
  JobState state = JobState::Left;
  double seconds = 0;                                // of work in this run
  std::string expanded_prompt = {};                  // in place of the request's, where a language server made one
  std::string error = {};                            // of a failed one
  std::exception_ptr failure = {};                   // the same as it was thrown
  std::optional<QualityNumbers> quality = {};        // of its video, where it was looked at
  std::optional<QualityNumbers> quality_first = {};  // of the one before, where it was rendered once more
  std::string first = {};                            // the path of that one; empty where it is not kept
  SafetyRecord safety = {};                          // what was said of it; of one that was kept, what was said then
};

/// Jobs that run on the same networks in the same precision on the same device.
struct Group {
  ModelParts parts;
  Placement placement;
  std::vector<FileIdentity> files;
  Activations activations = {};  // of the largest job of each stage
};

/// The LoRAs of a job, and their files as they were identified.
struct UsedLoras {
  Loras loras;
  ModelParts parts;  // has the LoRAs alone
  std::vector<FileIdentity> files;
};

/// The interpolator of a job, and its file as it was identified; no file where the job draws no frames.
struct UsedInterpolator {
  InterpolatorPart part;
  ModelParts parts;  // has it alone
  std::vector<FileIdentity> files;
};

struct Job {
  Job(JobResult& result, std::string label, OutputOptions output, const Log& log)
      : result(result), request(result.request), label(std::move(label)), output(std::move(output)), notes(log) {}

  JobResult& result;
  const Request& request;
  std::string label;  // in progress reports: "2/12 NAME.mp4"; empty for one alone
  OutputOptions output;
  AttentionChoices attention = {};              // of a replay: what computed the video
  std::optional<VaeTiles> replayed_tiles = {};  // the same of its VAE
  std::optional<Expansion> expansion = {};      // of its prompt, once it is known; of a replay: the video's
  bool replays_expansion = false;               // it is the replayed video's, which names its files, too
  Notes notes;                                  // what was assumed or left out on its way
  std::string id = {};                          // JobRequest::id
  std::string key;       // names the request and the content of its inputs: whether it is finished
  std::string work_key;  // the same of what its steps make, whatever chain they then go through
  bool finished = false;
  bool withdrawn = false;       // it ended by Withdrawn, or its refused video was removed: no file of it is to stay
  bool prepared = false;        // its files and all that is below are known
  std::set<std::string> files;  // names of those in the work folder that it may need or leave; jobs share encodings

  // Of jobs that are not finished.
  Placement placement;
  Group* group = nullptr;
  std::shared_ptr<const UsedLoras> loras;
  std::shared_ptr<const UsedInterpolator> interpolator;
  std::shared_ptr<const UsedSafety> safety;
  Record record;
  VaeTiles tiles;                         // that the VAE computes in
  std::shared_ptr<HeadsCapture> capture;  // from its first step in this process, where it is asked for
  std::optional<Schedule> schedule;
  StepReuse reuse;                        // of its steps
  std::string name;                       // of its files: other for other model files, device or version
  std::string chain = {};                 // of speech, names its chain in files of its clips; empty: nothing is drawn
  std::string positive, negative, input;  // names of the encodings it needs; empty: none
  Geometry geometry;                      // settled once its inputs are read
  bool keeps_sound = false;               // of its input video
  std::shared_ptr<PreviewFile> preview;   // null: none is shown

  /// What the text encoder reads.
  const std::string& prompt() const { return expansion && !expansion->text.empty() ? expansion->text : request.prompt; }
  /// Whether its prompt is to be expanded first.
  bool awaits_expansion() const { return request.enable_prompt_expansion && !expansion; }

  // Of --quality-check retry (engine/job/first_video.h).
  std::string first = {};         // where its video goes until it is looked at; empty: to the output at once
  bool set_aside = false;         // something was found in that video: another is to be made
  const Job* retry_of = nullptr;  // the job whose other video this one makes
  /// The path that its video is written to.
  const std::string& target() const { return first.empty() ? request.out : first; }
};

/// Tells requests apart by their values and by their inputs' content, not by their outputs; equal ones by their ids, or
/// where they have none by number.
class JobNames {
 public:
  /// Names the values of `request` and the content of its inputs. `with_chain`: those of its chain, too (kChainFields);
  /// `with_safety`: those of its checks (kSafetyFields). Throws InvalidRequest where an input cannot be read.
  std::string key_of(const Request& request, bool with_seed = true, bool with_chain = true, bool with_safety = true);
  /// Fills `key` and `work_key`.
  void set_key(Job& job);
  /// Fills the names of the job's files, from its key, record and group.
  void set_names(Job& job);
  /// Fills the name of its prompt's encoding, which is empty until the prompt is expanded, where it is to be.
  void set_prompt_name(Job& job);
  /// Of the inputs that were named so far.
  InputContents& contents() { return contents_; }

 private:
  /// SHA-256 of a file's bytes; a URL itself.
  std::string content_of(const std::string& path);

  InputContents contents_;
  std::map<std::string, int64_t> equals_;
};

}  // namespace wan
