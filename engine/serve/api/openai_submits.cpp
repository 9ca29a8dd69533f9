// OpenAI's calls that make videos: create, edit, remix.
#include <optional>
#include <string_view>
#include <utility>

#include "engine/base/text.h"
#include "engine/serve/api/openai.h"
#include "engine/serve/api/openai_answers.h"
#include "engine/serve/api/openai_body.h"
#include "engine/serve/api/openai_error.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr Access::Form kForm = Access::Form::OpenAi;
constexpr const char* kRemixed = "remixed_from_video_id";

/// What a remix has of the request that made its source, unless it says otherwise.
constexpr const char* kInherited[] = {"negative_prompt",
                                      "resolution",
                                      "frames_per_second",
                                      "num_inference_steps",
                                      "guidance_scale",
                                      "guidance_scale_2",
                                      "shift",
                                      "acceleration",
                                      "interpolator_model",
                                      "num_interpolated_frames",
                                      "adjust_fps_for_interpolation",
                                      "enable_safety_checker",
                                      "enable_output_safety_checker",
                                      "video_quality",
                                      "video_write_mode"};

/// Whether a request says this of itself, by the field's name or by OpenAI's.
bool is_said(const json& body, std::string_view name) {
  const auto says = [&](const char* one) {
    const auto sent = body.find(one);
    return sent != body.end() && !sent->is_null() && *sent != "";
  };
  if (name == "resolution" && (says("size") || (says("width") && says("height")))) return true;
  if (name == "frames_per_second" && says("fps")) return true;
  return body.contains(std::string(name));
}

/// Makes the body one of video to video that begins with this video. Throws HttpError 400 where it is not finished.
void begin_with(const Job& source, json& body) {
  if (source.hidden || source.status != JobStatus::Done || !source.output)
    throw HttpError(openai_error(
        400, "video_not_ready",
        "Only a completed video can be changed; GET /v1/videos/" + source.id + " says how far this one is"));
  for (const char* name : kInherited)
    if (const auto found = source.input.find(name); found != source.input.end() && !is_said(body, name))
      body[name] = *found;
  body["video_url"] = own_url("outputs", source.output->file);
  // With drawn frames it has more of them a second than the model makes.
  if (!body.contains("resample_fps")) body["resample_fps"] = true;
}

/// Submits what was read. `source`: the id of the video that it begins with; empty: none of ours.
Awaitable<Answer> submit(ApiContext& context, Exchange& exchange, const Caller& caller, VideoRequest& request,
                         ErrorList& errors, const std::string& source) {
  Submission submission = submission_of(request);
  if (!source.empty()) submission.beside[kRemixed] = source;
  const Submitted submitted =
      co_await submit_body(context, exchange, request.endpoint, caller, submission, request.body, errors);
  co_return video_answer(*submitted.job, context);
}

Awaitable<Answer> create(ApiContext& context, Exchange& exchange) {
  const Caller caller = context.access.caller(exchange, kForm);
  ErrorList errors = ErrorList::array();
  BodyBudget::Share share(context.bodies);
  VideoBody sent = co_await read_video_body(context, exchange, caller, errors, share);
  VideoRequest request = video_request(std::move(sent.json), VideoDoor::Videos, sent.is_form, errors);
  const std::string none;
  co_return co_await submit(context, exchange, caller, request, errors, none);
}

Awaitable<Answer> remix(ApiContext& context, Exchange& exchange, std::string id) {
  const Caller caller = context.access.caller(exchange, kForm);
  const JobPtr source = co_await find_video(context, caller, id);
  ErrorList errors = ErrorList::array();
  BodyBudget::Share share(context.bodies);
  VideoBody sent = co_await read_video_body(context, exchange, caller, errors, share);
  if (sent.json.is_object()) {
    sent.json["model"] = "v2v";
    begin_with(source->job, sent.json);
  }
  VideoRequest request = video_request(std::move(sent.json), VideoDoor::Videos, sent.is_form, errors);
  co_return co_await submit(context, exchange, caller, request, errors, id);
}

/// A video of ours by {"id"}, or one that came with the request.
Awaitable<Answer> edit(ApiContext& context, Exchange& exchange) {
  const Caller caller = context.access.caller(exchange, kForm);
  ErrorList errors = ErrorList::array();
  BodyBudget::Share share(context.bodies);
  VideoBody sent = co_await read_video_body(context, exchange, caller, errors, share);
  std::string id;
  if (sent.json.is_object()) {
    sent.json["model"] = "v2v";
    json video = taken(sent.json, "video");
    const json named = taken(video, "id");
    if (named.is_string()) {
      id = named.get<std::string>();
      const JobPtr source = co_await find_video(context, caller, id);
      begin_with(source->job, sent.json);
    } else if (video.is_string()) {
      sent.json["video_url"] = std::move(video);
    }
  }
  VideoRequest request = video_request(std::move(sent.json), VideoDoor::Videos, sent.is_form, errors);
  request.names["video_url"] = "video";
  co_return co_await submit(context, exchange, caller, request, errors, id);
}

/// A call of OpenAI's that this server has not.
Awaitable<Answer> not_offered(ApiContext& context, Exchange& exchange, std::string what) {
  context.access.caller(exchange, kForm);
  co_return openai_error(404, "not_offered",
                         "This server does not offer " + what +
                             "; videos are made by POST /v1/videos, /v1/videos/edits and /v1/videos/{id}/remix");
}

}  // namespace

Submission submission_of(const VideoRequest& request) {
  Submission submission;
  submission.form = kForm;
  submission.names = request.names;
  submission.beside["model"] = request.model;
  submission.notes = request.notes;
  return submission;
}

void add_video_submits(Router& router, ApiContext& context) {
  router.add("POST", "/v1/videos",
             [&context](Exchange& at, const Captures&) { return in_openai_form(create(context, at)); });
  router.add("POST", "/v1/videos/{id}/remix", [&context](Exchange& at, const Captures& names) {
    return in_openai_form(remix(context, at, names.at("id")));
  });
  router.add("POST", "/v1/videos/edits",
             [&context](Exchange& at, const Captures&) { return in_openai_form(edit(context, at)); });
  router.add("POST", "/v1/videos/extensions", [&context](Exchange& at, const Captures&) {
    return in_openai_form(not_offered(context, at, "longer versions of a video (extensions)"));
  });
  router.add("POST", "/v1/videos/characters", [&context](Exchange& at, const Captures&) {
    return in_openai_form(not_offered(context, at, "characters"));
  });
  router.add("GET", "/v1/videos/characters/{id}", [&context](Exchange& at, const Captures&) {
    return in_openai_form(not_offered(context, at, "characters"));
  });
}

}  // namespace wan::serve
