#include "tools/cli/stored_commands.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/fetched.h"
#include "engine/job/outputs.h"
#include "engine/job/replay.h"
#include "engine/media/metadata.h"
#include "engine/request/files.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/safety.h"
#include "engine/request/values.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/interpolator_network.h"
#include "engine/residency/unchanged.h"
#include "models/files/scratch_folder.h"
#include "tools/cli/environment.h"
#include "tools/cli/refusal.h"

namespace wan {
namespace {

/// Of kSafetyFields: who looks, and at what.
constexpr const char* kCheckerFields[] = {"safety_checker", "enable_safety_checker", "enable_output_safety_checker"};

/// What a flag's text says, in the type that the field of a stored request has.
nlohmann::json typed(const Parameter& parameter, const nlohmann::json& text) {
  if (std::holds_alternative<bool Request::*>(parameter.field)) return read_boolean(parameter, text, true);
  if (std::holds_alternative<int64_t Request::*>(parameter.field)) return read_integer(parameter, text, true);
  if (std::holds_alternative<double Request::*>(parameter.field)) return read_number(parameter, text, true);
  return parameter.repeated ? nlohmann::json(read_loras(parameter, text, true)) : text;
}

/// Flags about what is flagged, where nothing is looked at, and no flag says so.
void check_safety_flags(const Request& request, const Command& command) {
  const auto is_given = [&](const char* field) { return command.fields.contains(field); };
  if (request.enable_safety_checker || request.enable_output_safety_checker ||
      std::ranges::any_of(kCheckerFields, is_given))
    return;
  for (const char* field : {"safety_threshold", "safety_action", "discard"})
    if (is_given(field) && (field != std::string("discard") || request.discard))
      throw InvalidRequest(field,
                           "must be left out: the video was made without a check; --safety-checker DIR or "
                           "--blocked-words FILE turns one on");
}

/// The stored request, its model and inputs found by their names, with the flags that were given in place of what it
/// says. Of latents the inputs are not wanted any more: their files may have gone.
Request overridden(const Request& stored, const Command& command, const std::string& out, Named which) {
  const std::filesystem::path beside = std::filesystem::path(command.input).parent_path();
  if (command.fields.contains("calibration") && stored.acceleration != "regular")
    throw InvalidRequest("calibration", "must be left out: the video was made without --acceleration regular");
  nlohmann::json fields = find_named(stored, command.fields, beside, which);
  fields["out"] = out;
  for (const auto& [name, value] : command.fields.items()) fields[name] = typed(*find_parameter(name), value);
  const Request request = parse(fields, {.check_files = which == Named::ModelAndInputs, .need_expander = false});
  check_safety_flags(request, command);
  return request;
}

/// The record's request. A list of blocked words is not stored: a check of it alone is left out, and a replay
/// tells it.
Request without_lost_words(const Record& record, const Command& command, Console& console) {
  Request request = record.request;
  const bool lost =
      request.enable_safety_checker && request.safety_checker.empty() &&
      std::ranges::none_of(record.files, [](const FileIdentity& file) { return file.part == kSafetyPart; });
  if (!lost || std::ranges::any_of(kSafetyFields, [&](const char* field) { return command.fields.contains(field); }))
    return request;
  request.enable_safety_checker = false;
  if (command.name == "replay")
    console.say(
        "replay: the prompt is not looked at: its list of blocked words is not stored; --blocked-words FILE names "
        "one");
  return request;
}

/// A warning for each file that is another than the record's where the user wants it so; else the end.
void answer_for(std::vector<Difference> differences, const Command& command, Console& console) {
  differences = few_of_each_part(differences);
  std::vector<std::string> lines;
  for (Difference& difference : differences) {
    difference.subject = typed_name(command.name, difference.subject);
    lines.push_back(difference.line() + "; " + difference.way_out + ", --anyway takes what is here");
  }
  if (!lines.empty() && !command.anyway) throw OtherFiles(lines);
  for (const Difference& difference : differences) console.say(command.name + ": " + difference.line());
}

/// What the inputs hold now. URLs are fetched for it, into `copies`; a video keeps neither their password nor their query.
InputIdentities inputs_now(const Request& request, const std::filesystem::path& copies, Progress& progress) try {
  return identify_inputs(request, input_files(request, copies, progress).by_field());
} catch (const InvalidRequest& invalid) {
  std::vector<FieldError> errors = invalid.errors;
  for (FieldError& error : errors)
    if (const Parameter* parameter = find_parameter(error.field))
      error.wrong += "; " + parameter->flag() + " gives another file or the whole URL";
  throw InvalidRequest(errors);
}

/// Compares the model, and where there is a folder for copies of URLs, the inputs. Returns the model, which remembers what
/// was compared.
ModelParts check_same(const Record& record, const Request& request, const Command& command, Console& console,
                      const ScratchFolder* copies = nullptr) {
  IdentityCache cache;
  ModelParts parts = find_parts(request);
  // --anyway takes other weights, but not those of another network.
  if (copies && parts.interpolator.is_there()) check_interpolator(parts.interpolator);
  remember(parts, identities(parts, cache));
  Record compared = record;  // decoding needs no LoRA any more, and may have a chain of its own
  ModelParts used = parts;
  const bool other_chain =
      !copies && std::ranges::any_of(kChainFields, [&](const char* field) { return command.fields.contains(field); });
  if (other_chain) used.interpolator = {};
  // Of the flags about safety those that choose the checker, or do without one.
  const bool other_checks =
      std::ranges::any_of(kCheckerFields, [&](const char* field) { return command.fields.contains(field); });
  if (other_checks) used.safety_checker = {};
  std::erase_if(compared.files, [&](const FileIdentity& file) {
    return (!copies && file.part == kLoraPart) || (other_chain && file.part == kInterpolatorPart) ||
           (other_checks && file.part == kSafetyPart);
  });
  std::vector<Difference> differences = other_files(compared, used, cache);
  if (copies)
    for (const Difference& difference : other_inputs(record, inputs_now(request, copies->path, console)))
      differences.push_back(difference);
  answer_for(differences, command, console);
  if (knows_headers_only(record))
    console.say(command.name + ": an older version wrote the record: it knows headers only, so that other weights of " +
                "the same shapes are not noticed");
  return parts;
}

std::string without_suffix(const std::string& path, const std::string& suffix) {
  return path.ends_with(suffix) ? path.substr(0, path.size() - suffix.size()) : path;
}

/// Whether a folder's name is that of a single render's work.
bool is_work_of_one(const std::string& folder) {
  for (const char* ending : {".mp4.work", ".m4v.work", ".mov.work"})
    if (folder.ends_with(ending)) return true;
  return false;
}

/// What latents become: those in OUT.work the file OUT, others the name before their ending.
std::string output_of(const std::string& latents) {
  const std::string folder = std::filesystem::absolute(latents).parent_path().string();
  return is_work_of_one(folder) ? without_suffix(folder, ".work") : without_suffix(latents, ".latents.safetensors");
}

}  // namespace

void run_show(const Command& command) {
  std::cout << nlohmann::ordered_json::parse(read_metadata({command.input, "video"})).dump(2) << "\n";
}

SingleOptions single_options(const Command& command, Contexts& contexts) {
  return {.output = {.contact_sheet = command.contact_sheet,
                     .captured_heads = command.captured_heads,
                     .preview = command.preview},
          .fresh = command.fresh,
          .overwrite = command.overwrite,
          .expander_key = expander_key(),
          .contexts = &contexts,
          .previews = preview_cache_path()};
}

void run_replay(const Command& command, Contexts& contexts, Console& console) {
  Record record = parse_record(read_metadata({command.input, "video"}), "video");
  Request request = overridden(without_lost_words(record, command, console), command,
                               std::filesystem::path(command.input).replace_extension().string() + "-replay.mp4",
                               Named::ModelAndInputs);
  if (nlohmann::json::parse(read_metadata({command.input, "video"})).contains("finish"))
    console.say("replay: frames were drawn into the video afterwards (wan-infer finish): that is not done again");
  const ScratchFolder copies;
  check_same(record, request, command, console, &copies);
  Placement placement = resolve_placement(request, &contexts);
  const Record now = make_record(request, placement, {});
  const auto words = [](const Record& made) {
    return made.device + " in " + made.dtype + " (VAE " + made.vae_dtype + ") with noise of " + made.noise_device;
  };
  if (now.noise_device != record.noise_device || now.dtype != record.dtype || now.vae_dtype != record.vae_dtype)
    console.say("replay: made on " + words(record) + ", now on " + words(now) + ": the frames will differ");
  if (now.rotation != record.rotation)
    console.say("replay: made with 8-bit rows that were rotated in another way: the frames will differ");
  SingleOptions options = single_options(command, contexts);
  options.attention = record.attention;
  if (record.device == "cuda") options.tiles = record.vae_tiles;
  if (record.request.enable_prompt_expansion)
    options.expansion = recorded_expansion(record.expanded_prompt, record.notes);
  options.copies = copies.path;
  options.prefix = std::filesystem::path(request.out).stem().string();
  request.out_given = command.fields.contains("out");
  render(request, options, console.log(), console);
}

/// Flags about the sound of an input video, for latents of a task that has none.
void check_sound_flags(const Command& command, Task task) {
  if (task == Task::V2V) return;
  const std::string wrong = "must be left out: it is about the sound of an input video, and these latents are of ";
  for (const char* field : {"video_url", "keep_audio"})
    if (command.fields.contains(field)) throw InvalidRequest(field, wrong + task_name(task) + ", which takes none");
}

void run_decode(const Command& command, Contexts& contexts, Console& console) {
  const std::unique_ptr<WorkFolder> work = work_holding(command.input);
  SavedLatents saved = load_latents(command.input);
  check_sound_flags(command, saved.record.request.task);
  const Request request =
      overridden(without_lost_words(saved.record, command, console), command, output_of(command.input), Named::Model);
  check_writable("out", request.out);
  if (std::filesystem::exists(request.out) && !command.overwrite)
    throw InvalidRequest("out", "must not be there already: " + shown_path(request.out) + "; --overwrite replaces it");
  check_beside("contact_sheet", command.contact_sheet, command.overwrite);
  const ModelParts parts = check_same(saved.record, request, command, console);
  saved.record.request.metadata = request.metadata;
  if (parts.interpolator.is_there()) check_interpolator(parts.interpolator);
  const ScratchFolder copies;
  if (command.fields.contains("video_url")) {
    Request sound;
    sound.video_url = request.video_url;
    sound.private_urls = request.private_urls;
    saved.audio_from = input_files(sound, copies.path, console).video.path;
  }
  if (!request.keep_audio) saved.audio_from.clear();
  set_chain(saved.record, request, identities(parts), !saved.audio_from.empty());
  set_safety(saved.record, request, identities(parts));
  decode_saved(saved, request.out, resolve_placement(request, &contexts), parts,
               {.contact_sheet = command.contact_sheet}, console.log(), console);
  std::error_code ignored;
  if (work && std::filesystem::equivalent(work->path(), WorkFolder::beside(request.out), ignored)) work->discard();
}

}  // namespace wan
