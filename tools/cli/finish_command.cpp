#include "tools/cli/finish_command.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/attempts.h"
#include "engine/job/fetched.h"
#include "engine/job/finish.h"
#include "engine/job/outputs.h"
#include "engine/request/files.h"
#include "engine/request/parse.h"
#include "engine/residency/device.h"
#include "engine/residency/failure.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/interpolator_network.h"
#include "models/files/scratch_folder.h"

namespace wan {
namespace {

/// The same errors, about IN where the request has a video: the command has no such flag.
InvalidRequest about_input(const InvalidRequest& invalid) {
  const std::string flag = "--video";
  std::vector<FieldError> errors = invalid.errors;
  for (FieldError& error : errors) {
    if (error.field == "video_url") error.field = "IN";
    if (error.field != "out") continue;
    if (const size_t at = error.wrong.find(" " + flag + ","); at != std::string::npos)
      error.wrong.replace(at + 1, flag.size(), "IN");
  }
  return InvalidRequest(errors);
}

/// The flags as those of a video to video request, whose defaults they have.
Request request_of(const Command& command) {
  nlohmann::json fields = command.fields;
  fields["prompt"] = "";
  fields["video_url"] = command.input;
  std::vector<FieldError> missing;
  for (const auto& [name, way] :
       {std::pair("out", "--out FILE"), std::pair("interpolator_model", "--interpolator-model film|rife")})
    if (!fields.contains(name))
      missing.push_back({name, std::string("is required; give it with ") + way, "missing", "", ""});
  if (!missing.empty()) throw InvalidRequest(missing);
  Request request = parse(Task::V2V, fields, {.source = Source::Flags, .need_model = false});
  if (request.interpolator_model == "none")
    throw InvalidRequest("interpolator_model",
                         "must be film or rife: without an interpolator there is nothing to finish");
  if (request.num_interpolated_frames == 0)
    throw InvalidRequest("num_interpolated_frames",
                         "must be from 1 to 4, got 0: without frames to draw there is nothing to finish");
  return request;
}

void finish(const Command& command, Contexts& contexts, Console& console) {
  Request request = request_of(command);
  const std::string out = request.out;
  if (std::filesystem::exists(out) && !command.overwrite)
    throw InvalidRequest("out", "must not be there already: " + shown_path(out) + "; --overwrite replaces it");
  check_beside("contact_sheet", command.contact_sheet, command.overwrite);
  const ScratchFolder copies;
  request.video_url = input_files(request, copies.path, console).video.path;
  const Placement placement = resolve_placement(request, &contexts);
  FrameChain chain = chain_of(request, interpolator_of(request), placement);
  if (chain.how.is_on()) check_interpolator(chain.interpolator);
  const Attempts attempts{.stage = "finish",
                          .kept = "the input is as it was",
                          .device = [&] { return placement.device.str(); },
                          .answers = [&] { return answers(placement.device); },
                          .make_room = [](bool) { return false; },
                          .less = request.device_memory.empty()
                                      ? "a smaller size needs less"
                                      : "a smaller size needs less, and a larger --device-memory gives more"};
  attempt(attempts,
          [&] { finish_video(request, out, chain, {.contact_sheet = command.contact_sheet}, console.log(), console); });
}

}  // namespace

void run_finish(const Command& command, Contexts& contexts, Console& console) try {
  finish(command, contexts, console);
} catch (const InvalidRequest& invalid) {
  throw about_input(invalid);
}

}  // namespace wan
