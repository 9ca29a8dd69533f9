// The program that does the work: what wan-infer becomes once the command line is understood.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <iostream>

#include "engine/base/error.h"
#include "engine/job/batch.h"
#include "engine/job/batch_report.h"
#include "engine/job/render.h"
#include "engine/job/speech.h"
#include "engine/media/metadata.h"
#include "engine/request/files.h"
#include "engine/request/parse.h"
#include "engine/residency/device.h"
#include "engine/residency/inspect.h"
#include "engine/sampling/attention_record.h"
#include "models/files/error.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"
#include "tools/cli/dry_run.h"
#include "tools/cli/environment.h"

namespace wan {
namespace {

/// The stored request, with the flags that were given in place of what it says.
Request overridden(const Request& stored, const Command& command, const std::string& out,
                   const ParseOptions& options = {}) {
  nlohmann::json fields = to_json(stored);
  fields["out"] = out;
  fields.update(command.fields);
  return parse(fields, options);
}

std::string without_suffix(const std::string& path, const std::string& suffix) {
  return path.ends_with(suffix) ? path.substr(0, path.size() - suffix.size()) : path;
}

void run_show(const Command& command) {
  std::cout << nlohmann::ordered_json::parse(read_metadata(command.input, "video")).dump(2) << "\n";
}

void render_any(const Request& request, const RenderOptions& options, Console& console) {
  if (request.task == Task::S2V)
    render_speech(request, options, console.log(), console);
  else
    render(request, options, console.log(), console);
}

void run_replay(const Command& command, Contexts& contexts, Console& console) {
  Record record = parse_record(read_metadata(command.input, "video"), "video");
  Request request = overridden(record.request, command, without_suffix(command.input, ".mp4") + "-replay.mp4");
  check_same_files(record, open_model_folder(request.model, request.task));
  Placement placement = resolve_placement(request, &contexts);
  Record now = make_record(request, placement, identities(open_model_folder(request.model, request.task)));
  const auto words = [](const Record& made) {
    return made.device + " in " + made.dtype + " (VAE " + made.vae_dtype + ") with noise of " + made.noise_device;
  };
  if (now.noise_device != record.noise_device || now.dtype != record.dtype || now.vae_dtype != record.vae_dtype)
    console.say("replay: made on " + words(record) + ", now on " + words(now) + ": the frames will differ");
  placement.context->pin(record.attention);
  render_any(request, {command.contact_sheet, record.attention, &contexts}, console);
}

void run_decode(const Command& command, Contexts& contexts, Console& console) {
  SavedLatents saved = load_latents(command.input);
  // The inputs are in the latents already: their files may have gone.
  Request request = overridden(saved.record.request, command, without_suffix(command.input, ".latents.safetensors"),
                               {.check_files = false});
  check_writable("out", request.out);
  ModelFolder folder = open_model_folder(request.model, request.task);
  check_same_files(saved.record, folder);
  decode_saved(saved, request.out, resolve_placement(request, &contexts), folder, {command.contact_sheet},
               console.log(), console);
}

void run_inspect(const Command& command) {
  Inspection found = inspect(command.input);
  if (command.log_format == "json")
    std::cout << to_json(found, true).dump() << "\n";
  else
    std::cout << to_text(found, false);
}

/// The exit code. The manifest is read before anything is made on disk: a wrong one leaves no work folder.
int run_batch(const Command& command, Contexts& contexts, Console& console) {
  const uint64_t draw = Journal::draw_number(command.work);
  const std::vector<ManifestJob> jobs = read_manifest(command.input, {.defaults = command.fields, .draw = draw});
  Journal journal(command.work, draw);
  const BatchOptions options{
      .given_order = command.order == "given", .fail_fast = command.fail_fast, .contexts = &contexts};
  const BatchResult result = render_batch(jobs, journal, options, console.log(), console);
  std::cout << to_text(result) << std::flush;
  write_report(std::filesystem::path(command.work) / "report.json", result);
  if (result.cancelled || result.count(JobState::Left) > 0)
    console.say("the same command goes on where this one ended");
  if (result.cancelled) throw Cancelled();
  return result.count(JobState::Failed) > 0 ? 1 : 0;
}

/// The exit code of a command that was carried out.
int run(const Command& command) {
  c10::InferenceMode inference;
  if (command.threads > 0) at::set_num_threads(int(command.threads));
  if (command.name == "show") return run_show(command), 0;
  if (command.name == "inspect") return run_inspect(command), 0;
  Console console(command.log_format == "json" ? Console::Format::Json : Console::Format::Text);
  Contexts contexts(options_of_environment(), attention_file(attention_cache_path()));
  if (command.name == "batch") return run_batch(command, contexts, console);
  if (command.name == "replay") return run_replay(command, contexts, console), 0;
  if (command.name == "decode") return run_decode(command, contexts, console), 0;
  render_any(command.request, {.contact_sheet = command.contact_sheet, .contexts = &contexts}, console);
  return 0;
}

/// Kinds of failure to exit codes: the one place that knows them.
int exit_code(int argc, char** argv) {
  auto complain = [](const std::string& text) { std::cerr << "wan-infer: " << text << "\n"; };
  try {
    const int code = run(parse_command_line(argc, argv));
    return std::cout.flush() ? code : 1;
  } catch (const InvalidRequest& invalid) {
    for (const FieldError& error : invalid.errors) complain(error.line());
    return 2;
  } catch (const EnvironmentError& error) {
    complain(error.what());
    return 2;
  } catch (const ModelError& error) {
    complain(error.what());
    return 3;
  } catch (const Cancelled&) {
    complain("[stop] the job was interrupted; what it had finished is kept");
    return 130;
  } catch (const c10::Error& error) {
    complain(error.what_without_backtrace());
  } catch (const std::exception& error) {
    complain(error.what());
  }
  return 1;
}

}  // namespace
}  // namespace wan

int main(int argc, char** argv) {
  wan::fix_order_of_sums();
  return wan::exit_code(argc, argv);
}
