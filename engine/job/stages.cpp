#include "engine/job/stages.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/few_steps.h"
#include "engine/job/nan_cause.h"
#include "engine/job/outputs.h"
#include "engine/job/preflight.h"
#include "engine/job/speech.h"
#include "engine/request/params.h"
#include "engine/residency/model_check.h"
#include "engine/residency/model_reuse.h"
#include "engine/residency/needs.h"
#include "engine/residency/open_network.h"
#include "engine/residency/unchanged.h"
#include "engine/sampling/denoise.h"
#include "engine/sampling/skipping.h"
#include "models/files/error.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void log_job(const Job& job, const Log& log) {
  log("job", {{"task", task_name(job.request.task)},
              {"seed", job.request.seed},
              {"width", job.geometry.width},
              {"height", job.geometry.height},
              {"frames", job.geometry.num_frames},
              {"device", job.placement.device.str()},
              {"dtype", job.record.dtype},
              {"precision", job.request.precision},
              {"weights", job.request.weights}});
}

void take(Job& job, VideoFindings found) {
  job.result.safety = std::move(found.safety);
  job.result.quality = found.quality;
}

}  // namespace

void Stages::prepare(Job& job) {
  names_.set_key(job);
  files_.recall(job);
  if (!job.expansion && job.request.enable_prompt_expansion) job.expansion = expander_.noted(job.work_key);
  if (job.expansion) job.result.expanded_prompt = job.expansion->text;
  const json* note = folder_.find(job.key);
  const bool is_measured = options_.meter && options_.meter->knows(job.key);
  if (is_measured || (note && note->value("done", "") == place_of(job.request.out) && fs::exists(job.request.out))) {
    job.finished = true;
    job.result.state = JobState::Kept;
    if (note && note->contains(kSafetySaid)) job.result.safety = read_safety(note->at(kSafetySaid));
    return end_finished(job);
  }
  if (note) refuse_again(job, *note);
  if (firsts_.recall(job)) {
    if (!job.set_aside) input_safety_.look_at_texts(job.request, job.result.expanded_prompt, job.result.safety);
    return;
  }
  const auto placement = [&] {
    return resolve_placement(job.request, options_.contexts, options_.budget_hook, options_.budget_look);
  };
  job.placement = placement();
  if (networks_.make_way(job.request, job.placement)) job.placement = placement();
  job.group = &networks_.group_of(job.request, job.placement);
  job.placement.context = job.group->placement.context;  // that of the networks
  job.placement.budget = job.group->placement.budget;
  job.loras = networks_.loras_of(job.request, *job.group);
  job.interpolator = networks_.interpolator_of(job.request);
  job.safety = networks_.safety_of(job.request, options_.contexts);
  leave_out_unknown(job.attention, job.placement.device, job.notes);
  job.record = make_record(
      job.request, job.placement,
      joined(joined(joined(job.group->files, job.loras->files), job.interpolator->files), job.safety->files),
      identify_inputs(job.request, {}, names_.contents()));
  if (fs::exists(job.request.out) && !options_.overwrite && !made_here(job.request.out)) {
    job.record.inputs = identify_fetched(job.request, progress_);
    Record asked = job.record;
    if (job.retry_of) asked.request = job.retry_of->request;
    if (!finished_seed(job.request.out, asked))
      throw InvalidRequest("out", "must not be there already, and " + shown_path(job.request.out) +
                                      " is another request's, or does not say whose; --overwrite replaces it");
    job.finished = true;
    job.result.state = JobState::Kept;
    return end_finished(job);
  }
  job.schedule = make_schedule(job.request);
  check_calibration(job.request, job.group->parts, job.group->files);
  job.reuse = step_reuse(job.request, job.group->parts);
  for (size_t branch = 0; branch < kBranches; ++branch)
    if (const std::vector<int64_t> steps = job.reuse.reused_steps(branch); !steps.empty())
      job.record.reused_steps[branch_name(branch)] = steps;
  job.geometry = asked_geometry(job.request);
  names_.set_names(job);
  files_.settle(job);
  files_.drop_damaged(job, log_);
  look_ahead(job);
  expand(job);
  begin_preview(job);
}

/// Of a job whose file an earlier run made. The list of blocked words may be another one by now: it is looked at again.
void Stages::end_finished(Job& job) {
  firsts_.recall_finished(job);
  input_safety_.look_at_texts(job.request, job.result.expanded_prompt, job.result.safety);
}

/// Now, while no weights are loaded. Of a job whose steps are all made nothing is shown.
void Stages::begin_preview(Job& job) {
  if (job.output.preview.empty() || job.schedule->empty() || !(wants_speech(job) || wants_latents(job))) return;
  if (auto map = previews_.map_of(*job.group, progress_, job.label))
    job.preview = std::make_shared<PreviewFile>(job.output.preview, std::move(*map), log_);
}

Run Stages::run_of(const Job& job) const {
  Run run{log_, progress_, job.label, options_.save_every, *job.placement.context};
  run.shares = job.reuse.shares();
  if (!job.preview && !options_.on_estimate) return run;
  run.on_estimate = [this, &job](const at::Tensor& estimate, int64_t step) {
    if (options_.on_estimate) options_.on_estimate(job, estimate, step);
    const bool shown = job.preview && job.preview->take(estimate, step, job.schedule->size());
    if (shown && options_.on_preview) options_.on_preview(job);
  };
  return run;
}

/// Now, while no weights are loaded: afterwards they would count as memory that is taken. Those of an earlier run's pool
/// are counted in its group's budget.
void Stages::look_ahead(Job& job) {
  const Extent extent = largest_extent(job.request);
  if (!preflight_) preflight_.emplace(options_.given_order ? Look::Whole : Look::Streams);
  const std::optional<VaeTiles> before = tiles_before(job);
  const Fit fit = preflight_->memory(job.request, *job.group, job.placement, before, job.interpolator->part,
                                     job.request.enable_output_safety_checker ? job.safety->part : ModelPart());
  job.tiles = job.record.vae_tiles = fit.tiles;
  note_lost_frames(before, fit.tiles, job.placement.vae, job.notes);
  note_search(job.group->parts, job.notes);
  note_zero_weights(job.group->files, job.notes);
  job.loras->loras.note(job.notes);
  check_precision(job.group->parts, job.placement);
  check_skipping(job.request, job.group->parts, job.placement);
  note_weights(job.group->parts, job.placement, job.notes);
  note_few_steps(job.request, job.group->parts, job.notes);
  note_reuse(job.reuse, job.notes);
  InputFiles files;
  const bool rendered = !wants_speech(job) && !wants_latents(job);
  if (!rendered) {
    const DiskNeed disk = disk_need(job.request, extent);
    const uint64_t all = disk.work + disk.running, there = files_.bytes(job);
    check_space(waiting_ + all - std::min(there, all), folder_.path() / "work");
    if (!options_.given_order) waiting_ += disk.work - std::min(there, disk.work);
    files_.note(job);
    files = fetch(job);
  }
  check_space(disk_need(job.request, extent).video, job.request.out);
  try {
    // Of a job that waits for its decoding alone the inputs may have gone.
    if (!rendered)
      preflight_->look(job.request, files, job.record, *job.group, fit, job.notes, progress_);
    else
      fit.check();
    job.record.safety = look_at_inputs(job, files, rendered, job.notes);
  } catch (const SafetyRefusal& refusal) {
    job.result.safety = refusal.record;
    files_.drop_copies(job);
    throw;
  } catch (const InvalidRequest&) {
    files_.drop_copies(job);
    throw;
  }
  Activations activations = fit.activations;
  if (options_.meter)  // the residuals of the step before lie beside the blocks
    activations.denoise += kBranches * uint64_t(extent.tokens() * transformer_config(job.group->parts).dim) *
                           c10::elementSize(job.placement.dtype);
  job.group->activations.widen(activations);
  tell_resumed(job);
  if (rendered && !job.output.captured_heads.empty()) write_capture(job);
}

/// The tiles that an earlier run began the job with: those of its latents, those that were noted of it, those that its
/// input was encoded with. Else those of the video that it replays.
std::optional<VaeTiles> Stages::tiles_before(const Job& job) const {
  if (wants_decode(job) && !wants_latents(job))
    if (const Record made = load_latents(files_.latents(job)).record; made.device == "cuda") return made.vae_tiles;
  if (wants_speech(job) && !fs::exists(files_.clips(job))) return job.replayed_tiles;
  if (const auto noted = tiles_.noted(job.name)) return noted;
  if (!job.input.empty() && fs::exists(files_.encoding(job.input)))
    if (const auto noted = tiles_.noted(job.input)) return noted;
  return job.replayed_tiles;
}

/// Before the VAE works for `name`, the job or its input: a later run goes on with the same tiles, on any card.
void Stages::settle_tiles(const Job& job, const std::string& name) {
  networks_.of(job).take_tiles(job.tiles);
  tiles_.note(name, job.tiles, job.placement.device.is_cpu());
}

/// What an earlier run left of the job, where it left anything. Of speech, speak() tells.
void Stages::tell_resumed(const Job& job) const {
  if (wants_speech(job)) return;
  const std::string steps = std::to_string(job.schedule->size());
  std::string from;
  if (!wants_latents(job))
    from = "goes on with the decoding: all " + steps + " steps are made";
  else if (fs::exists(files_.sampling(job)))
    from = "goes on from step " + std::to_string(saved_step(files_.sampling(job)) + 1) + " of " + steps;
  else if (has_encoding(job))
    from = "goes on with what was encoded";
  if (!from.empty()) log_("resume", {{"out", job.result.name}, {"text", from}});
}

bool Stages::has_encoding(const Job& job) const {
  for (const std::string& name : {job.positive, job.negative, job.input})
    if (!name.empty() && fs::exists(files_.encoding(name))) return true;
  return false;
}

/// Whether a job of this folder made the file, under whatever request: an edited manifest renders it again.
bool Stages::made_here(const std::string& out) const {
  return folder_.any_note([place = place_of(out)](const json& note) { return note.value("done", "") == place; });
}

std::string Stages::place_of(const std::string& out) const {
  const auto normal = [](const fs::path& path) { return fs::absolute(path).lexically_normal(); };
  return normal(out).lexically_relative(normal(folder_.path())).string();
}

/// What an earlier run settled from the inputs, and what it noted.
bool Stages::recall_input(Job& job) const {
  const json* settled = folder_.find(job.name);
  if (!settled || !settled->contains("keeps_sound") || !fs::exists(files_.encoding(job.input))) return false;
  const bool keeps_sound = settled->at("keeps_sound").get<bool>();
  if (keeps_sound && !fs::exists(files_.sound(job))) return false;
  settled->at("width").get_to(job.geometry.width);
  settled->at("height").get_to(job.geometry.height);
  settled->at("num_frames").get_to(job.geometry.num_frames);
  job.keeps_sound = keeps_sound;
  for (Note& note : read_notes(settled->value("notes", json::array()))) job.notes.add(std::move(note));
  return true;
}

/// The inputs as files, and their identities in the record: of URLs, too.
InputFiles Stages::fetch(Job& job) {
  InputFiles files = input_files(job.request, folder_.path(), progress_, job.label);
  job.record.inputs = identify_inputs(job.request, files.by_field(), names_.contents());
  return files;
}

/// A copy of a URL that proves to be no such input is not kept: the URL may give another by the next run.
Inputs Stages::load(Job& job, const InputFiles& files) {
  try {
    return work_of(job.request.task).load(job.request, files, job.notes);
  } catch (const InvalidRequest&) {
    files_.drop_copies(job);
    throw;
  }
}

void Stages::encode_input(Job& job) {
  const InputFiles files = fetch(job);
  if (recall_input(job)) return log_job(job, log_);
  const Inputs inputs = load(job, files);
  job.geometry = inputs.geometry;
  job.keeps_sound = !inputs.keep_audio_from.empty();
  log_job(job, log_);
  if (job.schedule->empty()) {
    job.record.notes = job.notes.list();
    check_unchanged(job.interpolator->parts, kInterpolatorPart);
    end_with(job, [&] {
      take(job, write_input(job.record, inputs, job.request.out, job.output, chain(job), log_, &progress_));
    });
    return finish(job);
  }
  const fs::path encoded = files_.encoding(job.input);
  if (!fs::exists(encoded)) {
    settle_tiles(job, job.input);
    attention_.pin(job.placement, job.input, job.attention, job.notes);
    const Encoded states = work_of(job.request.task).encode(networks_.of(job), job.request, inputs, run_of(job));
    attention_.note(job.placement, job.input);
    check_not_rewritten(job.group->parts);
    explaining_nan(job, {Network::Vae}, progress_, [&] { check_finite(states, "the VAE"); });
    save_encoded(encoded, states);
    ++inputs_encoded;
  }
  const json* known = folder_.find(job.name);  // with the attention of steps that were made before
  json note = known ? *known : json::object();
  note.update({{"width", job.geometry.width},
               {"height", job.geometry.height},
               {"num_frames", job.geometry.num_frames},
               {"keeps_sound", job.keeps_sound},
               {"notes", to_json(job.notes.list())}});
  folder_.note(job.name, note);
}

void Stages::encode_prompts(Job& job) {
  if (job.input.empty()) log_job(job, log_);
  tiles_.note(job.name, job.tiles, job.placement.device.is_cpu());  // the job begins here
  // Those that no job before has encoded; equal texts have one name.
  std::set<std::string> absent;
  for (const std::string& name : {job.positive, job.negative})
    if (!name.empty() && !fs::exists(files_.encoding(name))) absent.insert(name);
  const int64_t all = int64_t(absent.size());
  int64_t done = 0;
  auto encode = [&](const std::string& name, const std::string& prompt) {
    if (absent.erase(name) == 0) return;
    progress_.at({Stage::Encode, done++, all, "", job.label});
    attention_.pin(job.placement, name, job.attention, job.notes);
    Encoded encoded;
    networks_.of(job).expect(job.schedule->first_low() > 0 ? Network::HighNoise : Network::LowNoise);
    encoded.conditioning.positive = networks_.text(job, prompt);
    attention_.note(job.placement, name);
    check_not_rewritten(job.group->parts);
    explaining_nan(job, {Network::TextEncoder}, progress_, [&] { check_finite(encoded, "the text encoder"); });
    save_encoded(files_.encoding(name), encoded);
    ++prompts_encoded;
  };
  encode(job.positive, job.prompt());
  encode(job.negative, job.request.negative_prompt);
  if (all > 0) progress_.at({Stage::Encode, all, all, "", job.label});
}

Encoded Stages::load_encodings(const Job& job) const {
  const at::Device device = job.placement.device;
  Encoded encoded;
  if (!job.input.empty()) encoded = load_encoded(files_.encoding(job.input), device);
  encoded.conditioning.positive = load_encoded(files_.encoding(job.positive), device).conditioning.positive;
  if (!job.negative.empty())
    encoded.conditioning.negative = load_encoded(files_.encoding(job.negative), device).conditioning.positive;
  return encoded;
}

/// Goes on from the last saved state up to step `end`, and leaves a state, or after the last step the latents.
void Stages::sample(Job& job, int64_t end) {
  const fs::path path = files_.sampling(job);
  const Schedule& schedule = *job.schedule;
  const Encoded encoded = load_encodings(job);
  const FreshNoise noise{job.request.seed, job.placement.noise};
  const bool goes_on = fs::exists(path);
  Skipping skipping(goes_on ? skipped_in(read_safetensors_metadata(MappedFile::open(path))) : SkippedBlocks());
  Sampling state =
      goes_on
          ? load_sampling(path, schedule, job.placement.device, noise)
          : begin_sampling(schedule, first_sample(job.request, job.geometry, schedule, encoded, job.placement), noise);
  ResidualMeter* const meter = options_.meter;
  if (meter) meter->begin(job.key, schedule);
  if (meter && goes_on) meter->load(std::exchange(state.cache, {}), state.next(), job.placement.device);
  StepCache cache(job.reuse, job.placement.dtype, log_, job.label);
  cache.load(std::exchange(state.cache, {}), schedule, job.placement.device);
  auto save = [&](const Sampling& now) {
    check_not_rewritten(job.group->parts);
    check_not_rewritten(job.loras->parts);
    attention_.note(job.placement, job.name);
    save_sampling(path, {now.x, now.solver, meter ? meter->save(now.next()) : cache.save(schedule, now.next())},
                  to_metadata(skipping.counted()));
  };
  if (state.next() == 0) {
    log_skipping(job.request, schedule, job.placement, log_);
    log_reuse(job.reuse, reuse_bounds(job.request.task), log_);
  }
  attention_.pin(job.placement, job.name, job.attention, job.notes);
  const int64_t first_low = schedule.first_low();
  const bool switches = is_last_of_phase && end == first_low && first_low > 0 && first_low < schedule.size();
  check_unchanged(job.loras->parts, kLoraPart);
  if (!job.output.captured_heads.empty() && !job.capture)
    job.capture = std::make_shared<HeadsCapture>(job.request, schedule, job.reuse);
  Guidance guidance(networks_.of(job), encoded.conditioning,
                    {.adapters = job.loras->loras.in_steps(job.request),
                     .skipping = &skipping,
                     .cache = &cache,
                     .meter = meter,
                     .capture = job.capture.get(),
                     .last_high = switches ? &schedule[first_low - 1] : nullptr});
  explaining_nan(job, {end > first_low ? Network::LowNoise : Network::HighNoise}, progress_,
                 [&] { denoise_and_save(state, schedule, end, std::ref(guidance), run_of(job), save); });
  if (end < schedule.size()) return save(state);
  if (meter) {
    meter->end();
    job.finished = true;
    job.result.state = JobState::Done;
    return files_.drop(job);
  }
  check_not_rewritten(job.group->parts);
  check_not_rewritten(job.loras->parts);
  attention_.note(job.placement, job.name);
  Record record = job.record;
  record.notes = job.notes.list();
  record.skipped = skipping.counted();
  log_skipped(record.skipped, log_);
  for (const std::string& name : {job.positive, job.negative, job.input, job.name})
    record.attention.merge(attention_.noted(name));
  const std::string sound = job.keeps_sound ? files_.sound(job) : "";
  save_latents(files_.latents(job), {state.x, job.geometry.num_frames, sound, record});
  folder_.remove(path.filename().string());
  if (job.capture) write_capture(job);
}

void Stages::write_capture(Job& job) const {
  const size_t count = job.capture ? job.capture->count() : 0;
  if (count == 0) {
    log_("warning",
         {{"text", "no heads are captured: the steps in question were made before; --fresh makes them again"}});
  } else {
    job.capture->write(job.output.captured_heads);
    log_("captured", {{"file", shown_name(job.output.captured_heads)}, {"attentions", count}});
  }
  job.capture.reset();
}

void Stages::decode(Job& job) {
  SavedLatents saved = load_latents(files_.latents(job));
  if (!saved.audio_from.empty()) saved.audio_from = files_.sound(job);
  if (!saved.audio_from.empty() && !fs::exists(saved.audio_from)) {
    log_("warning",
         {{"out", job.result.name}, {"text", "without sound: " + shown_path(saved.audio_from) + " is gone"}});
    saved.audio_from.clear();
  }
  if (fs::exists(job.request.out) && !options_.overwrite && !made_here(job.request.out))
    throw InvalidRequest("out", "must not be there already, and " + shown_path(job.request.out) +
                                    " has appeared since the job began; --overwrite replaces it");
  set_chain(saved.record, job.request, job.interpolator->files, !saved.audio_from.empty());
  set_safety(saved.record, job.request, job.safety->files);
  saved.record.safety = job.record.safety;
  check_unchanged(job.interpolator->parts, kInterpolatorPart);
  settle_tiles(job, job.name);
  AttentionChoices made = saved.record.attention;  // an encoding of this size has the decoding's case
  made.insert(job.attention.begin(), job.attention.end());
  attention_.pin(job.placement, job.name, made, job.notes);
  add_retry(job, saved.record);
  firsts_.begin(job);
  end_with(job, [&] {
    explaining_nan(job, {Network::Vae}, progress_, [&] {
      take(job, write_video(networks_.of(job), saved, job.target(), job.output, run_of(job), chain(job)));
    });
  });
  attention_.note(job.placement, job.name);
  finish(job);
}

void Stages::speak(Job& job) {
  const InputFiles files = fetch(job);
  settle_tiles(job, job.name);
  firsts_.begin(job);
  try {
    end_with(job, [&] {
      explaining_nan(job, networks_of(job.request.task), progress_, [&] {
        take(job, wan::speak(networks_.of(job), job, files, files_.clips(job), run_of(job), options_.meter));
      });
    });
  } catch (const InvalidRequest&) {
    files_.drop_copies(job);
    throw;
  }
  finish(job);
}

void Stages::finish(Job& job) {
  tell_quality(job, log_);
  if (firsts_.end(job)) return files_.drop(job);
  json note = {{"done", place_of(job.request.out)}, {"files", job.files}};
  if (job.result.safety.is_there()) note[kSafetySaid] = to_json(job.result.safety);
  folder_.note(job.key, note);
  job.finished = true;
  job.result.state = JobState::Done;
  files_.drop(job);
  if (!job.label.empty()) log_("finished", {{"line", job.result.line}, {"out", job.result.name}});
}

}  // namespace wan
