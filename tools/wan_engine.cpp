// The program that does the work: what wan-infer becomes once the command line is understood.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <system_error>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/check.h"
#include "engine/job/fetched.h"
#include "engine/job/outputs.h"
#include "engine/job/replay.h"
#include "engine/job/single.h"
#include "engine/media/metadata.h"
#include "engine/request/files.h"
#include "engine/request/manifest.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"
#include "engine/residency/device.h"
#include "engine/residency/failure.h"
#include "engine/sampling/attention_record.h"
#include "models/files/bus_error.h"
#include "models/files/error.h"
#include "models/files/scratch_folder.h"
#include "tools/cli/batch_output.h"
#include "tools/cli/check_output.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"
#include "tools/cli/dry_run.h"
#include "tools/cli/environment.h"
#include "tools/cli/inspect_output.h"
#include "tools/cli/signals.h"

namespace wan {
namespace {

/// The stored request, its model and inputs found by their names, with the flags that were given in place of what it
/// says. Of latents the inputs are not wanted any more: their files may have gone.
Request overridden(const Request& stored, const Command& command, const std::string& out, Named which) {
  const std::filesystem::path beside = std::filesystem::path(command.input).parent_path();
  nlohmann::json fields = find_named(stored, command.fields, beside, which);
  fields["out"] = out;
  for (const auto& [name, value] : command.fields.items()) {
    const Parameter& parameter = *find_parameter(name);
    const bool boolean = std::holds_alternative<bool Request::*>(parameter.field);  // a text, as flags are
    fields[name] = boolean ? nlohmann::json(read_boolean(parameter, value, true)) : value;
  }
  return parse(fields, {.check_files = which == Named::ModelAndInputs});
}

/// A warning for each file that is another than the record's where the user wants it so; else the end.
void answer_for(const std::vector<Difference>& differences, const Command& command, Console& console) {
  std::vector<std::string> lines;
  for (const Difference& difference : differences)
    lines.push_back(difference.line() + "; " + difference.way_out + ", --anyway takes this one");
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

/// Compares the model, and where there is a folder for copies of URLs, the inputs.
void check_same(const Record& record, const Request& request, const Command& command, Console& console,
                const ScratchFolder* copies = nullptr) {
  IdentityCache cache;
  std::vector<Difference> differences = other_files(record, open_model_folder(request.model, request.task), cache);
  if (copies)
    for (const Difference& difference : other_inputs(record, inputs_now(request, copies->path, console)))
      differences.push_back(difference);
  answer_for(differences, command, console);
  if (knows_headers_only(record))
    console.say(command.name + ": an older version wrote the record: it knows headers only, so that other weights of " +
                "the same shapes are not noticed");
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

void run_show(const Command& command) {
  std::cout << nlohmann::ordered_json::parse(read_metadata({command.input, "video"})).dump(2) << "\n";
}

SingleOptions options_of(const Command& command, Contexts& contexts) {
  return {.output = {.contact_sheet = command.contact_sheet},
          .fresh = command.fresh,
          .overwrite = command.overwrite,
          .contexts = &contexts};
}

void run_replay(const Command& command, Contexts& contexts, Console& console) {
  Record record = parse_record(read_metadata({command.input, "video"}), "video");
  Request request = overridden(record.request, command,
                               std::filesystem::path(command.input).replace_extension().string() + "-replay.mp4",
                               Named::ModelAndInputs);
  const ScratchFolder copies;
  check_same(record, request, command, console, &copies);
  Placement placement = resolve_placement(request, &contexts);
  const Record now = make_record(request, placement, {});
  const auto words = [](const Record& made) {
    return made.device + " in " + made.dtype + " (VAE " + made.vae_dtype + ") with noise of " + made.noise_device;
  };
  if (now.noise_device != record.noise_device || now.dtype != record.dtype || now.vae_dtype != record.vae_dtype)
    console.say("replay: made on " + words(record) + ", now on " + words(now) + ": the frames will differ");
  SingleOptions options = options_of(command, contexts);
  options.attention = record.attention;
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
  const Request request = overridden(saved.record.request, command, output_of(command.input), Named::Model);
  check_writable("out", request.out);
  if (std::filesystem::exists(request.out) && !command.overwrite)
    throw InvalidRequest("out", "must not be there already: " + shown_path(request.out) + "; --overwrite replaces it");
  check_sheet(command.contact_sheet, command.overwrite);
  check_same(saved.record, request, command, console);
  saved.record.request.metadata = request.metadata;
  const ScratchFolder copies;
  if (command.fields.contains("video_url")) {
    Request sound;
    sound.video_url = request.video_url;
    sound.private_urls = request.private_urls;
    saved.audio_from = input_files(sound, copies.path, console).video.path;
  }
  if (!request.keep_audio) saved.audio_from.clear();
  ModelFolder folder = open_model_folder(request.model, request.task);
  decode_saved(saved, request.out, resolve_placement(request, &contexts), folder, {command.contact_sheet},
               console.log(), console);
  std::error_code ignored;
  if (work && std::filesystem::equivalent(work->path(), WorkFolder::beside(request.out), ignored)) work->discard();
}

/// The exit code: 3 where a file is another than its checksum says, or is not there.
int run_verify(const Command& command, Console& console) {
  const Verification found = verify_files(command.input, command.checksums, console);
  if (command.log_format == "json")
    std::cout << to_json(found).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << to_text(found);
  return found.count(FileState::Differs) + found.count(FileState::Absent) > 0 ? 3 : 0;
}

void run_inspect(const Command& command) {
  Inspection found = inspect(command.input);
  if (command.log_format == "json")
    std::cout << to_json(found, true).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << to_text(found, false);
}

/// The exit code. The manifest is read before anything is made on disk: a wrong one leaves no work folder.
int run_batch(const Command& command, Contexts& contexts, Console& console) {
  const uint64_t draw = WorkFolder::draw_number(command.work);
  std::vector<JobRequest> jobs;
  for (const ManifestJob& job : read_manifest(command.input, {.defaults = command.fields, .draw = draw}))
    jobs.push_back({.line = job.line, .request = job.request, .name = job.name});
  WorkFolder folder(command.work, draw);
  const RunOptions options{.given_order = command.order == "given",
                           .fail_fast = command.fail_fast,
                           .overwrite = command.overwrite,
                           .contexts = &contexts};
  const RunResult result = run_jobs(jobs, folder, options, console.log(), console);
  std::cout << to_text(result) << std::flush;
  write_report(std::filesystem::path(command.work) / "report.json", result);
  if (!result.cancelled && result.count(JobState::Left) > 0)
    console.say("the same command goes on where this one ended");
  if (result.cancelled) throw Cancelled(shown_path(command.work) + " keeps what was done: the same command goes on");
  return result.count(JobState::Failed) > 0 ? 1 : 0;
}

/// The exit code.
int run_check(const Command& command, Contexts& contexts, Console& console) {
  std::vector<JobRequest> jobs;
  std::filesystem::path work = command.work + "/work";
  if (command.is_render()) {
    jobs.push_back({.line = 0, .request = command.request});
    work = WorkFolder::beside(command.request.out);
  } else {
    const uint64_t draw = WorkFolder::draw_number(command.work);
    for (const ManifestJob& job : read_manifest(command.input, {.defaults = command.fields, .draw = draw}))
      jobs.push_back({.line = job.line, .request = job.request, .name = job.name});
  }
  const ScratchFolder scratch;
  const std::vector<CheckResult> results = check_jobs(jobs,
                                                      {.overwrite = command.overwrite,
                                                       .given_order = command.order == "given",
                                                       .contact_sheet = command.contact_sheet,
                                                       .work = work,
                                                       .scratch = scratch.path,
                                                       .contexts = &contexts},
                                                      console);
  std::cout << (command.json ? to_json(results).dump(2) + "\n" : to_text(results));
  return exit_code_of(results);
}

/// Sets the number of threads, and tries first whether they can be made: libtorch's would sleep for minutes where the
/// system has no room for them.
void set_threads(int64_t asked) {
  const int64_t wanted = asked > 0 ? asked : at::get_num_threads();
  std::atomic<bool> end{false};
  std::vector<std::thread> tried;
  tried.reserve(size_t(wanted));
  int64_t made = 1;
  try {
    for (; made < wanted; ++made) tried.emplace_back([&] { end.wait(false); });
  } catch (const std::system_error&) {
  }
  end = true;
  end.notify_all();
  for (std::thread& thread : tried) thread.join();
  if (made < wanted)
    throw InvalidRequest("threads", "must be as many as can be made, got " + std::to_string(wanted) +
                                        ", and the system makes " + std::to_string(made) +
                                        " (limits of processes or "
                                        "memory, ulimit); --threads " +
                                        std::to_string(std::max<int64_t>(made / 2, 1)) + " takes fewer");
  if (asked > 0) at::set_num_threads(int(asked));
}

/// The exit code of a command that was carried out.
int run(const Command& command) {
  c10::InferenceMode inference;
  if (command.name == "show") return run_show(command), 0;
  if (command.name == "inspect" && !command.verify) return run_inspect(command), 0;
  Console console(command.log_format == "json" ? Console::Format::Json : Console::Format::Text);
  set_threads(command.threads);
  if (command.name == "inspect") return run_verify(command, console);
  Contexts contexts(options_of_environment(), attention_file(attention_cache_path()));
  if (command.check) return run_check(command, contexts, console);
  if (command.name == "batch") return run_batch(command, contexts, console);
  if (command.name == "replay") return run_replay(command, contexts, console), 0;
  if (command.name == "decode") return run_decode(command, contexts, console), 0;
  render(command.request, options_of(command, contexts), console.log(), console);
  return 0;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Kinds of failure to exit codes: the one place that knows them.
int exit_code(int argc, char** argv) {
  auto complain = [](const std::string& text) { std::cerr << "wan-infer: " << text << "\n"; };
  try {
    const int code = run(parse_command_line(argc, argv));
    if (std::cout.flush()) return code;
    complain("[stdout] cannot be written; the result is incomplete");
    return 1;
  } catch (const InvalidRequest& invalid) {
    if (wants_json(argc, argv)) std::cout << refused_json(invalid) << std::flush;
    for (const FieldError& error : invalid.errors) complain(error.line());
    return 2;
  } catch (const OtherFiles& others) {
    for (const std::string& line : others.lines) complain(line);
    return 3;
  } catch (const EnvironmentError& error) {
    complain(error.what());
    return 2;
  } catch (const ModelError& error) {
    for (const std::string& line : lines_of(error.what())) complain(line);
    return 3;
  } catch (const Cancelled& stopped) {
    const int signal = signal_that_came() ? signal_that_came() : SIGINT;
    complain("[stop] " + signal_text(signal) + "; " + stopped.what());
    return 128 + signal;
  } catch (const std::filesystem::filesystem_error& error) {
    complain("[" + shown_name(error.path1().string()) + "] " + error.code().message());
  } catch (const std::exception& error) {
    complain(text_of(error));
  }
  return 1;
}

}  // namespace
}  // namespace wan

int main(int argc, char** argv) {
  wan::take_signals();
  wan::install_bus_handler();
  wan::fix_order_of_sums();
  return wan::exit_code(argc, argv);
}
