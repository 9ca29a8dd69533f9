#include "engine/job/single.h"

#include <algorithm>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/attempts.h"
#include "engine/job/attention_notes.h"
#include "engine/job/fetched.h"
#include "engine/job/first_video.h"
#include "engine/job/input_safety.h"
#include "engine/job/outputs.h"
#include "engine/media/metadata.h"
#include "engine/request/files.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/residency/failure.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/fit.h"
#include "engine/residency/not_finite.h"
#include "engine/sampling/attention_record.h"
#include "models/files/error.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kAsked = "asked";  // key of the note that says whose work a folder holds

/// What a work folder notes about the run it belongs to.
struct Asked {
  std::string key;   // of the request without its seed; of speech with its chain
  std::string work;  // the same without its chain
  bool draws;        // frames between others, so that what its steps make is kept (SpeechFolder)
  uint64_t seed;
};

Asked asked_of(const Request& request) {
  JobNames names;
  const std::string work = names.key_of(request, /*with_seed=*/false, /*with_chain=*/false, /*with_safety=*/false);
  const bool speech = request.task == Task::S2V;
  return {.key = speech ? names.key_of(request, /*with_seed=*/false, /*with_chain=*/true, /*with_safety=*/false) : work,
          .work = work,
          .draws = interpolation_of(request).is_on(),
          .seed = request.seed};
}

/// Whether unfinished work of `kept` serves the run, whose chain may be another.
bool serves(const Asked& kept, const Asked& run) {
  return kept.key == run.key || (kept.draws && kept.work == run.work);
}

nlohmann::json note_of(const Asked& asked) {
  return {{"request", asked.key}, {"work", asked.work}, {"draws", asked.draws}, {"seed", asked.seed}};
}

std::optional<Asked> read_asked(const nlohmann::json& note) {
  const auto field = [&](const char* name) { return note.contains(name) ? note.at(name) : nlohmann::json(); };
  const nlohmann::json key = field("request"), work = field("work"), seed = field("seed");
  if (!key.is_string() || !seed.is_number_unsigned()) return std::nullopt;
  return Asked{.key = key, .work = work.is_string() ? work : key, .draws = field("draws") == true, .seed = seed};
}

std::optional<Asked> asked_in(const fs::path& folder) {
  const auto note = WorkFolder::peek(folder, kAsked);
  return note ? read_asked(*note) : std::nullopt;
}

/// Whether a folder holds unfinished work for this run: with its seed, where one was given.
bool is_for(const std::optional<Asked>& kept, const Asked& run, const Request& request) {
  return kept && serves(*kept, run) && (!request.seed_given || kept->seed == request.seed);
}

/// The output of an unfinished run of the same request among those whose name was not chosen: TASK-SEED.mp4 and its like.
std::optional<std::string> unfinished_output(const Request& request, const Asked& run, const std::string& prefix) {
  const fs::path out = request.out, parent = out.has_parent_path() ? out.parent_path() : ".";
  const std::string ending = ".mp4.work";
  std::error_code failed;
  for (fs::directory_iterator entry(parent, failed), end; !failed && entry != end; entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(ending) || !is_for(asked_in(entry->path()), run, request))
      continue;
    if (!FolderLock(entry->path()).held()) continue;
    return (out.parent_path() / name.substr(0, name.size() - std::string(".work").size())).string();
  }
  return std::nullopt;
}

/// The request as it is run: with the seed and the output of an unfinished run of the same request, or with a free name.
Request taken_up(const Request& asked, const Asked& run, const std::string& prefix, bool fresh) {
  Request request = asked;
  if (!request.out_given) {
    const auto unfinished = fresh ? std::nullopt : unfinished_output(request, run, prefix);
    request.out = unfinished.value_or(free_name(request.out));
  }
  const std::optional<Asked> kept = asked_in(WorkFolder::beside(request.out));
  if (!fresh && is_for(kept, run, request)) request.seed = kept->seed;
  return request;
}

/// Whose work it is that a run cannot go on with.
std::string owner_of(const nlohmann::json* note, const std::optional<Asked>& kept, const Asked& run) {
  if (!note) return "that does not say whose it is any more";
  if (kept && kept->work == run.work && kept->seed == run.seed)
    return "of this request without frames between others, which cannot be drawn into its clips any more: wan-infer "
           "finish draws them into the finished video. It lies";
  return "of another request";
}

/// Refuses a folder with a batch's work, or with steps of another request or of one that a damaged journal does not
/// name, which would be lost. One without steps is taken over.
void claim(WorkFolder& folder, Asked run, bool fresh) {
  const nlohmann::json* note = folder.find(kAsked);
  const std::optional<Asked> kept = note ? read_asked(*note) : std::nullopt;
  if (kept && kept->seed == run.seed && serves(*kept, run) && !fresh) {
    run.draws = run.draws || kept->draws;
    if (kept->key != run.key) folder.note(kAsked, note_of(run));
    return;
  }
  const bool is_batch = !note && folder.any_note([](const nlohmann::json&) { return true; });
  if (is_batch)
    throw InvalidRequest(
        "out", "has the work of a batch in " + shown_path(folder.path().string()) + "; another --out leaves it");
  if (!fresh && folder.holds_steps())
    throw InvalidRequest("out", "has unfinished work " + owner_of(note, kept, run) + " in " +
                                    shown_path(folder.path().string()) +
                                    "; --fresh discards it, another --out leaves it");
  folder.restart();
  folder.note(kAsked, note_of(run));
}

/// Inputs that the caller fetched need not be fetched again; where one cannot be moved, the job fetches it itself.
void take_copies(const WorkFolder& folder, const fs::path& copies) {
  std::error_code failed;
  for (fs::directory_iterator entry(copies, failed), end; !failed && entry != end; entry.increment(failed)) {
    const fs::path to = folder.path() / entry->path().filename(), part = to.string() + ".part";
    std::error_code other_disk, full;
    if (fs::exists(to)) continue;
    fs::rename(entry->path(), to, other_disk);
    if (!other_disk) continue;
    fs::copy_file(entry->path(), part, fs::copy_options::overwrite_existing, full);
    if (!full) fs::rename(part, to, full);
    if (full) fs::remove(part, other_disk);
  }
}

/// What an interrupt leaves, for the user.
std::string kept_text(const WorkFolder& folder) {
  return shown_path(folder.path().string()) + " keeps what was done: the same command goes on, --fresh starts anew";
}

void log_done(const Request& request, const RunResult& result, const Placement& placement, const Log& log) {
  Log::Fields fields = {{"out", shown_name(request.out)}};
  for (const auto& [phase, seconds] : result.phase_seconds) fields[phase + "_seconds"] = seconds;
  fields["expert_loads"] = result.expert_loads;
  fields["peak_ram_bytes"] = peak_memory(at::kCPU);
  if (placement.device.is_cuda()) fields["peak_vram_bytes"] = peak_memory(placement.device);
  log("done", fields);
}

/// A path as a word of a command line, quoted for a shell. Of an absolute one DIR stands for the folders above.
std::string shell_word(const std::string& path) {
  const std::string text = (path.starts_with('/') ? "DIR/" : "") + shown_name(path, true);
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

/// The flags that name its model.
std::string model_flags(const Request& request) {
  std::string text;
  for (const Parameter& parameter : parameters()) {
    if (!parameter.named && !parameter.part && parameter.field != Field(&Request::models) &&
        parameter.field != Field(&Request::interpolator) && parameter.field != Field(&Request::safety_checker))
      continue;
    const std::string& path = request.*std::get<std::string Request::*>(parameter.field);
    if (!path.empty()) text += " " + parameter.flag() + " " + shell_word(path);
  }
  return text;
}

/// Whether a failure is about the model's files, a device that is lost or memory that other programs have: with the
/// right ones, a new process or that memory the run goes on.
bool is_from_outside(const std::exception_ptr& failure) {
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const ModelError&) {
    return true;
  } catch (const InvalidRequest& refused) {
    return std::ranges::any_of(refused.errors, [](const FieldError& error) { return error.field == "memory"; });
  } catch (const std::exception& error) {
    return is_device_lost(error);
  }
  return false;
}

/// Whether a file of the model must change before the same command can finish.
bool is_about_files(const std::exception_ptr& failure) {
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const ModelError&) {
    return true;
  } catch (...) {
  }
  return false;
}

bool is_refusal(const std::exception_ptr& failure) {
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const SafetyRefusal&) {
    return true;
  } catch (...) {
  }
  return false;
}

/// Where a run ended before its file was there: the folder stays if it holds what is of use, and the log says how to go
/// on. After an error that is steps alone; after an interrupt, or where a file of the model changed, the device was
/// lost or other programs have its memory, whatever was encoded, too.
void leave(WorkFolder& folder, const Request& request, const std::exception_ptr& failure, const Log& log) {
  const bool failed = failure && !is_from_outside(failure), refused = is_refusal(failure);
  const bool holds = FirstVideos::is_waiting(folder);  // for a second render
  if (!holds && (failed ? !folder.holds_steps() : !folder.holds_work())) return folder.discard();
  const char* const how = refused ? "the same command with another --safety-action or --safety-threshold"
                          : is_about_files(failure) ? "the same command, once the file is replaced"
                                                    : "the same command";
  Log::Fields fields = {{"work", shown_name(folder.path().string())}, {"finish_with", how}};
  if (const std::optional<fs::path> latents = folder.latents())
    fields["or_with"] = "wan-infer decode " + shell_word(latents->string()) + model_flags(request) + " --out " +
                        shell_word(request.out);
  if (interpolation_of(request).is_on() && (fields.contains("or_with") || request.task == Task::S2V))
    fields["or_without"] = "--interpolator-model none leaves the clip as it was generated";
  if (refused && fields.contains("or_with"))
    fields["or_with"] = fields["or_with"].get<std::string>() + " --safety-action flag";
  if (fields.contains("or_with") && request.task == Task::V2V && !is_url(request.video_url))
    fields["or_with"] = fields["or_with"].get<std::string>() + " --video " + shell_word(request.video_url);
  log("kept", fields);
}

}  // namespace

std::string render(const Request& asked, const SingleOptions& options, const Log& log, Progress& progress) {
  Asked run = asked_of(asked);
  const std::string prefix = options.prefix.empty() ? task_name(asked.task) + std::string("-") : options.prefix;
  const Request request = taken_up(asked, run, prefix, options.fresh);
  run.seed = request.seed;
  const fs::path work = WorkFolder::beside(request.out);
  if (fs::exists(request.out) && !options.overwrite) {
    const ModelParts model = find_parts(request);
    const Record now =
        make_record(request, resolve_placement(request), identities(model), identify_fetched(request, progress));
    const std::optional<uint64_t> made = finished_seed(request.out, now);
    if (!made)
      throw InvalidRequest("out", "must not be there already, and " + shown_path(request.out) +
                                      " is another request's, or does not say whose; --overwrite replaces it");
    SafetyRecord said;  // by the list of blocked words as it is now
    InputSafety().look_at_texts(request, parse_record(read_metadata({request.out, "out"}), "out").expanded_prompt,
                                said);
    log("finished",
        {{"out", shown_name(request.out)}, {"text", "this request has made it before; --overwrite renders it again"}});
    if (!options.output.contact_sheet.empty())
      log("warning", {{"text", "no contact sheet is made of a finished video; --overwrite renders both"}});
    if (!options.output.captured_heads.empty())
      log("warning", {{"text", "nothing is captured of a finished video; --overwrite renders it again"}});
    if (!options.output.preview.empty())
      log("warning", {{"text", "no preview is shown of a finished video; --overwrite renders it again"}});
    // A run that was killed after its file appeared leaves its folder; another seed's work is not touched.
    const std::optional<Asked> kept = asked_in(work);
    if (kept && kept->key == run.key && kept->seed == *made && FolderLock(work).held())
      WorkFolder(work, WorkFolder::draw_number(work), "out").discard();
    return request.out;
  }
  check_beside("contact_sheet", options.output.contact_sheet, options.overwrite);
  check_beside("capture_qk", options.output.captured_heads, options.overwrite);
  check_preview(options.output.preview, options.overwrite, work);
  WorkFolder folder(work, WorkFolder::draw_number(work), "out",
                    options.fresh ? WorkFolder::Broken::BeginAnew : WorkFolder::Broken::Refuse);
  claim(folder, run, options.fresh);
  note_preview(options.output.preview, folder);
  if (!options.copies.empty()) take_copies(folder, options.copies);
  const JobRequest job{.line = 0,
                       .request = request,
                       .output = options.output,
                       .attention = options.attention,
                       .tiles = options.tiles,
                       .expansion = options.expansion};
  RunResult result = run_jobs({job}, folder,
                              {.overwrite = options.overwrite,
                               .save_every = options.save_every,
                               .contexts = options.contexts,
                               .budget_hook = options.budget_hook,
                               .budget_look = options.budget_look,
                               .expander_key = options.expander_key,
                               .previews = options.previews},
                              log, progress);
  JobResult& only = result.jobs.at(0);
  if (only.state == JobState::Done || only.state == JobState::Kept) {
    folder.discard();
    log_done(request, result, resolve_placement(request), log);
    return request.out;
  }
  leave(folder, request, only.failure, log);
  if (only.failure) std::rethrow_exception(only.failure);
  throw Cancelled(folder.holds_work() || FirstVideos::is_waiting(folder) ? kept_text(folder)
                                                                         : "nothing is kept: nothing was done");
}

std::unique_ptr<WorkFolder> work_holding(const fs::path& latents) {
  const fs::path folder = fs::absolute(latents).parent_path();
  if (!asked_in(folder)) return nullptr;
  return std::make_unique<WorkFolder>(folder, WorkFolder::draw_number(folder), "latents");
}

void decode_saved(const SavedLatents& saved, const std::string& out, const Placement& placement,
                  const ModelParts& parts, const OutputOptions& options, const Log& log, Progress& progress,
                  const std::function<bool(at::Device)>& device_answers) {
  if (!saved.audio_from.empty() && !fs::exists(saved.audio_from)) {
    throw InvalidRequest("video_url", "must be there for its sound, and " + shown_path(saved.audio_from) +
                                          " is neither beside the latents nor in the current folder; --video FILE " +
                                          "gives it, --no-keep-audio leaves the sound out");
  }
  const Extent extent{4 * saved.latents.size(1) - 3, saved.latents.size(2) * vae::kPixels,
                      saved.latents.size(3) * vae::kPixels};
  // Those of a CPU say nothing of a card.
  const std::optional<VaeTiles> before =
      saved.record.device == "cuda" ? std::optional(saved.record.vae_tiles) : std::nullopt;
  const Fit fit = decode_fit(parts, extent, placement, before);
  fit.check();
  Notes notes(log);
  note_lost_frames(before, fit.tiles, placement.vae, notes);
  Networks networks(parts, placement, fit.activations, log);
  networks.ask([&progress] { progress.check(); });
  networks.take_tiles(fit.tiles);
  FrameChain chain = chain_of(saved.record.request, parts.interpolator, placement);
  if (!parts.safety_checker.path.empty())
    chain.safety.used = open_safety(parts.safety_checker, cpu_placement(saved.record.request, nullptr));
  chain.safety = output_safety(saved.record.request, chain.safety.used, saved.record.safety);
  note_chain(saved.record.request, !saved.audio_from.empty(), notes);
  warn_of_cudnn(placement, log);
  AttentionChoices pinned = saved.record.attention;  // the record itself says who computed the latents
  leave_out_unknown(pinned, placement.device, notes);
  placement.context->pin(pinned);
  const auto start = std::chrono::steady_clock::now();
  const Attempts attempts{
      .stage = "decode",
      .kept = "the latents are kept",
      .device = [&] { return placement.device.str(); },
      .answers = [&] { return device_answers ? device_answers(placement.device) : answers(placement.device); },
      .make_room = [&](bool first) { return networks.make_room(first); }};
  std::optional<QualityNumbers> quality;
  try {
    attempt(attempts, [&] { quality = write_video(networks, saved, out, options, {log, progress}, chain).quality; });
  } catch (const NotFinite&) {
    check_weights_finite(parts, {Network::Vae}, progress);
    throw;
  }
  tell_quality(out, quality, log);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log("done", {{"out", shown_name(out)}, {"decode_seconds", seconds}, {"peak_ram_bytes", peak_memory(at::kCPU)}});
}

}  // namespace wan
