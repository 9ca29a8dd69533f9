// OpenAI's video calls and those of the load generator, described.
#include <initializer_list>
#include <string>
#include <utility>

#include "engine/serve/api/openapi.h"
#include "engine/serve/api/openapi_operations.h"

namespace wan::serve::description {
namespace {

constexpr const char* kTag = "OpenAI";

Json may_be_null(const char* type, const std::string& help) {
  return {{"type", {type, "null"}}, {"description", help}};
}

/// The same schema for JSON and for a form.
Json two_contents(const Json& schema) {
  return {{"application/json", {{"schema", schema}}}, {"multipart/form-data", {{"schema", schema}}}};
}

/// A value that a form says as a text.
Json number_or_text(const std::string& help) {
  return {{"type", {"number", "string", "null"}}, {"description", help}};
}

/// The fields of text to video by our names, of which a form has texts, and the order of the two guidances at this door.
Json own_fields(const char* door) {
  const Endpoint* const endpoint = find_endpoint("fal-ai/wan/v2.2-a14b/text-to-video");
  Json properties = Json::object();
  const Json input = input_schema(*endpoint);
  for (const auto& [name, schema] : input.at("properties").items()) {
    Json& property = properties[name];
    property["description"] = schema.value("description", "");
    if (schema.contains("default")) property["default"] = schema.at("default");
  }
  const std::string order = std::string(" At ") + door +
                            " guidance_scale is that of the first, high-noise expert and guidance_scale_2 that of the "
                            "second, low-noise one; some other servers of these calls have it the other way round.";
  for (const char* name : {"guidance_scale", "guidance_scale_2"})
    properties[name]["description"] = properties[name].value("description", "") + order;
  properties["image_url"] = text("Of image to video and speech to video: a picture, where no input_reference comes.");
  properties["audio_url"] = text("Of speech to video: the speech.");
  properties["video_url"] = text("Of video to video: the source.");
  properties["size"] =
      may_be_null("string",
                  "WIDTHxHEIGHT. The nearest size of the endpoint is rendered and told; resolution and aspect_ratio go "
                  "before it.");
  properties["seconds"] = number_or_text(
      "Length of the video. The nearest number of frames that the endpoint takes is rendered and told; num_frames goes "
      "before it.");
  properties["fps"] = number_or_text("As frames_per_second, which goes before it.");
  properties["model"] =
      may_be_null("string",
                  "t2v, i2v, v2v, s2v, the path of an endpoint, or one of OpenAI's names that begin with sora-2: image "
                  "to video with an input_reference, text to video without.");
  properties["input_reference"] = {
      {"description", "The picture (of v2v the video): a file of a form, a URL, a data URL, or {\"image_url\": URL}."}};
  return properties;
}

Json create_schema() {
  return object({"prompt"}, own_fields("/v1/videos"));
}

Json generation_schema() {
  Json properties = own_fields("/v1/videos/generations and /v1/videos/sync");
  properties["boundary_ratio"] =
      number_or_text("From 0 to 1: the high-noise expert works while t / 1000 is at or above it.");
  properties["latent_path"] =
      may_be_null("string", "Plain name of a file in the folder of --latents-dir. Refused by this version.");
  properties["response_format"] =
      may_be_null("string",
                  "video_bytes: base64 in JSON. video_path: the path of the file, where the server was "
                  "started with --answer-paths. Absent: video_bytes, of /v1/videos/sync the file itself.");
  properties["output_format"] = may_be_null("string", "mp4 or auto.");
  properties["interpolator_model"]["default"] = "none";
  return object({"prompt"}, std::move(properties));
}

Json video_schema() {
  const Json number = {{"type", "integer"}};
  const Json error = object({"code", "message"}, {{"code", text()}, {"message", text()}});
  const Json none = {{"type", "null"}};
  Json properties = {{"id", text()},
                     {"object", words({"video"})},
                     {"model", text("As the request called it; of other calls t2v, i2v, v2v or s2v.")},
                     {"status", words({"queued", "in_progress", "completed", "failed"})},
                     {"progress", {{"type", "integer"}, {"minimum", 0}, {"maximum", 100}}},
                     {"created_at", number}};
  properties["completed_at"] = may_be_null("integer", "Seconds since 1970.");
  properties["expires_at"] = may_be_null("integer", "When it is removed, in seconds since 1970.");
  properties["prompt"] = text("The one that was used.");
  properties["seconds"] = text("What is rendered, which may differ from what was asked for.");
  properties["size"] = text("What is rendered, WIDTHxHEIGHT; auto where the input decides.");
  properties["remixed_from_video_id"] = may_be_null("string", "");
  properties["error"] = any_of({error, none});
  return object({"id", "object", "model", "status", "progress", "created_at", "seconds", "size"},
                std::move(properties));
}

Json video_response() {
  Json answer = response("The video", schema_ref("OpenAiVideo"));
  answer["headers"] = {{"openai-poll-after-ms",
                        {{"schema", {{"type", "string"}}},
                         {"description", "When to ask again, in ms; of a video that is not finished."}}}};
  return {{"200", answer}};
}

Json file_content(std::initializer_list<const char*> types) {
  Json content = Json::object();
  for (const char* type : types) content[type] = Json::object();
  return content;
}

void put_one_video(Json& paths) {
  const std::string video = "/v1/videos/{id}";
  const Json id = Json::array({in_path("id")});
  paths[video]["get"] = operation({.id = "openai_video",
                                   .summary = "Status of a video",
                                   .responses = video_response(),
                                   .parameters = id,
                                   .openai = true,
                                   .tag = kTag});
  paths[video]["delete"] =
      operation({.id = "openai_remove",
                 .summary = "Remove a video; one that is not finished is cancelled first",
                 .responses = {{"200", response("It is gone", object({"id", "object", "deleted"},
                                                                     {{"id", text()},
                                                                      {"object", words({"video.deleted"})},
                                                                      {"deleted", {{"type", "boolean"}}}}))}},
                 .parameters = id,
                 .openai = true,
                 .tag = kTag});
  const Json variant = in_query("variant", words({"video", "thumbnail", "spritesheet"}),
                                "thumbnail: the last preview, a JPEG. spritesheet: not offered, 404.");
  const Json bytes = file_content({"video/mp4", "image/jpeg", "application/octet-stream"});
  Json responses = {{"200", {{"description", "The file"}, {"content", bytes}}},
                    {"206", {{"description", "A part of it"}, {"content", bytes}}},
                    {"304", {{"description", "It is as the ETag says"}}}};
  responses["416"] = response("The range lies outside of the file", schema_ref("OpenAiError"));
  paths[video + "/content"]["get"] =
      operation({.id = "openai_content",
                 .summary = "The file of a video",
                 .responses = responses,
                 .parameters = {in_path("id"), variant, in_header("Range", text(), "bytes=FIRST-LAST")},
                 .openai = true,
                 .tag = kTag});
  paths[video + "/remix"]["post"] =
      operation({.id = "openai_remix",
                 .summary = "A new video from a finished one, by video to video",
                 .responses = video_response(),
                 .parameters = id,
                 .body = two_contents(object({"prompt"}, {{"prompt", text("What the new one shows.")}})),
                 .openai = true,
                 .tag = kTag});
}

void put_generation(Json& paths, const char* path, const char* id, const char* summary) {
  Json content = file_content({"video/mp4", "application/octet-stream"});
  content["application/json"] = {{"schema", schema_ref("OpenAiGeneration")}};
  Json responses = {{"200", {{"description", "The video"}, {"content", content}}}};
  paths[path]["post"] = operation({.id = id,
                                   .summary = summary,
                                   .responses = responses,
                                   .body = two_contents(schema_ref("OpenAiGenerationInput")),
                                   .openai = true,
                                   .tag = kTag});
}

}  // namespace

void put_openai_calls(Json& paths) {
  paths["/v1/videos"]["post"] = operation({.id = "openai_create",
                                           .summary = "A video from a text, with an input_reference from a picture",
                                           .responses = video_response(),
                                           .body = two_contents(schema_ref("OpenAiVideoInput")),
                                           .openai = true,
                                           .tag = kTag});
  const Json limit = {{"type", "integer"}, {"minimum", 1}, {"maximum", 100}, {"default", 20}};
  paths["/v1/videos"]["get"] =
      operation({.id = "openai_list",
                 .summary = "The caller's videos, whichever call made them",
                 .responses = {{"200", response("A part of the list", schema_ref("OpenAiVideoList"))}},
                 .parameters = {in_query("after", text(), "Those behind the video of this id."),
                                in_query("limit", limit, "How many at once."),
                                in_query("order", words({"asc", "desc"}), "desc, the default: the newest first.")},
                 .openai = true,
                 .tag = kTag});
  put_one_video(paths);
  const Json source = {{"description", "The source: a file of a form, a URL, or {\"id\": ID} of a finished video."}};
  paths["/v1/videos/edits"]["post"] =
      operation({.id = "openai_edit",
                 .summary = "A new video from a video, by video to video",
                 .responses = video_response(),
                 .body = two_contents(object({"prompt", "video"}, {{"prompt", text()}, {"video", source}})),
                 .openai = true,
                 .tag = kTag});
  put_generation(paths, "/v1/videos/generations", "openai_generate",
                 "A video, answered when it is there, as MLPerf's load generator asks for it");
  put_generation(paths, "/v1/videos/sync", "openai_sync", "A video, answered as a file when it is there");
}

void put_openai_schemas(Json& all) {
  all["OpenAiVideoInput"] = create_schema();
  all["OpenAiGenerationInput"] = generation_schema();
  all["OpenAiVideo"] = video_schema();
  const Json videos = {{"type", "array"}, {"items", schema_ref("OpenAiVideo")}};
  all["OpenAiVideoList"] = object({"object", "data", "has_more"}, {{"object", words({"list"})},
                                                                   {"data", videos},
                                                                   {"has_more", {{"type", "boolean"}}},
                                                                   {"first_id", may_be_null("string", "")},
                                                                   {"last_id", may_be_null("string", "")}});
  all["OpenAiGeneration"] = object({"video_id"}, {{"video_id", text()},
                                                  {"video_bytes", text("The file in base64.")},
                                                  {"video_path", text("Where it lies at the server.")}});
  all["OpenAiError"] =
      object({"error"}, {{"error", object({"message", "type", "param", "code"},
                                          {{"message", text()},
                                           {"type", text()},
                                           {"param", may_be_null("string", "The field that is at fault.")},
                                           {"code", text()}})}});
}

}  // namespace wan::serve::description
