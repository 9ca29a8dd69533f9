#include "engine/serve/api/openai_fields.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>

#include "engine/base/text.h"
#include "engine/serve/api/lax_values.h"
#include "engine/serve/api/openai_error.h"
#include "engine/serve/api/openai_size.h"

namespace wan::serve {
namespace {

using nlohmann::json;
using Kind = EndpointField::Kind;

constexpr const char* kValue = "value_error";
constexpr double kLongest = 1e6;  // seconds: beyond it a number is a mistake

class Reader {
 public:
  Reader(json sent, VideoDoor door, bool is_form, ErrorList& errors) : door_(door), is_form_(is_form), errors_(errors) {
    request_.body = std::move(sent);
  }

  VideoRequest run() {
    if (!body().is_object()) {  // that is wrong, and told where fields are checked
      request_.endpoint = video_endpoint(Task::T2V);
      return std::move(request_);
    }
    json reference = taken_reference();
    choose_endpoint(!reference.is_null());
    put_reference(std::move(reference));
    if (is_form_) drop_empty();
    take_rate();
    take_size();
    take_seconds();
    if (door_ == VideoDoor::Generations) take_settings();
    return std::move(request_);
  }

 private:
  json& body() { return request_.body; }
  bool has(const char* name) {
    const auto found = body().find(name);
    return found != body().end() && !is_absent(*found);
  }
  bool is_absent(const json& value) const { return value.is_null() || (is_form_ && value == ""); }
  void fail(const char* field, const std::string& wrong, const json& value) {
    add_error(errors_, field, kValue, "Value error, " + wrong, value);
  }

  /// Where the picture lies that the request refers to, a text; null where there is none.
  json taken_reference() {
    json reference = taken(body(), "input_reference");
    if (is_absent(reference)) return nullptr;
    if (!reference.is_object()) return reference;
    json url = taken(reference, "image_url");
    if (!url.is_null()) return url;
    fail("input_reference",
         "must be a file, a URL or {\"image_url\": URL}; a file_id is known to OpenAI alone: send the file itself",
         reference);
    return nullptr;
  }

  void choose_endpoint(bool has_reference) {
    const json sent = taken(body(), "model");
    const bool is_named = !is_absent(sent) && sent != "";
    const std::string name = is_named && sent.is_string() ? sent.get<std::string>() : "";
    if (is_named && !sent.is_string())
      add_error(errors_, "model", "string_type", "Input should be a valid string", sent);
    // OpenAI's own names say nothing of the task: what came with the request does.
    if (name.empty() || name.starts_with("sora-2")) {
      Task task = has_reference || has("image_url") ? Task::I2V : Task::T2V;
      if (has("audio_url")) task = Task::S2V;
      if (has("video_url")) task = Task::V2V;
      request_.endpoint = video_endpoint(task);
      request_.model = name.empty() ? task_name(task) : name;
      return;
    }
    request_.model = name;
    if (const std::optional<Task> task = task_named(name)) {
      request_.endpoint = video_endpoint(*task);
      return;
    }
    const Endpoint* const endpoint = find_endpoint(name);
    if (!endpoint || endpoint->vendor != Vendor::Fal)
      throw HttpError(openai_error(404, "model_not_found",
                                   "[model] must be t2v, i2v, v2v or s2v, the path of an endpoint like " +
                                       video_endpoint(Task::T2V).path + ", sora-2 or sora-2-pro, got " + shown(name) +
                                       "; leave it out to have one chosen by what the request holds",
                                   "model"));
    request_.endpoint = *endpoint;
  }

  /// It becomes the endpoint's own input.
  void put_reference(json reference) {
    if (reference.is_null()) return;
    const Task task = request_.endpoint.task;
    const char* const field = task == Task::V2V ? "video_url" : "image_url";
    if (task == Task::T2V)
      return fail("input_reference", "is not taken by text to video; leave it out, or name the model i2v", reference);
    if (has(field))
      return fail("input_reference", std::string("came beside ") + field + "; send one of them", reference);
    body()[field] = std::move(reference);
    request_.names[field] = "input_reference";
  }

  /// A form says "" for what it leaves open; only a text may mean it.
  void drop_empty() {
    for (const EndpointField& field : request_.endpoint.fields) {
      const auto sent = body().find(field.name);
      const bool is_text = field.kind == Kind::Text && field.words.empty() && field.media.empty();
      if (sent != body().end() && !is_text && *sent == "") body().erase(sent);
    }
  }

  void take_rate() {
    json sent = taken(body(), "fps");
    if (is_absent(sent) || has("frames_per_second")) return;
    body()["frames_per_second"] = std::move(sent);
    request_.names["frames_per_second"] = "fps";
  }

  /// Frames a second that the model's frames are shown at.
  double rate() {
    const EndpointField& field = *request_.endpoint.field("frames_per_second");
    const auto sent = body().find(field.name);
    if (sent != body().end()) {
      const std::optional<double> read = lax_number(*sent);
      if (read && field.range.contains(*read)) return *read;
    }
    return field.value.get<double>();
  }

  void take_seconds() {
    const json sent = taken(body(), "seconds");
    if (is_absent(sent)) return;
    const std::optional<double> seconds = lax_number(sent);
    if (!seconds || !(*seconds > 0) || *seconds > kLongest)
      return fail("seconds", "must be a number of seconds above 0, like \"4\", got " + shown(sent), sent);
    if (has("num_frames")) return;
    const Range& range = request_.endpoint.field("num_frames")->range;
    const double step = double(range.step), wanted = std::clamp(*seconds * rate(), range.least, range.most);
    const auto frames = int64_t(std::clamp(std::round(wanted / step) * step, range.least, range.most));
    body()["num_frames"] = frames;
    request_.names["num_frames"] = "seconds";
    const double made = double(frames) / rate();
    if (std::abs(made - *seconds) > 1e-9)
      request_.notes.push_back("seconds is " + number_text(made) + ", the nearest to " + number_text(*seconds) +
                               " that the model makes: " + std::to_string(frames) + " frames");
  }

  /// The text of `size`, or one made of `width` and `height`, which other servers of these calls take.
  json taken_size() {
    json size = taken(body(), "size");
    const json width = taken(body(), "width"), height = taken(body(), "height");
    if (!is_absent(size) || is_absent(width) || is_absent(height)) return size;
    const LaxInteger across = lax_integer(width), down = lax_integer(height);
    if (across.trouble != LaxInteger::None || down.trouble != LaxInteger::None)
      return width.dump(-1, ' ', false, json::error_handler_t::replace) + "x" +
             height.dump(-1, ' ', false, json::error_handler_t::replace);
    return across.value.dump() + "x" + down.value.dump();
  }

  void take_size() {
    const json sent = taken_size();
    if (is_absent(sent)) return;
    const std::optional<Size> asked = sent.is_string() ? read_pixels(sent.get<std::string>()) : std::nullopt;
    if (!asked) return fail("size", "must be WIDTHxHEIGHT like 1280x720, got " + shown(sent), sent);
    const EndpointField* const shapes = request_.endpoint.field("aspect_ratio");
    const std::vector<std::string> choices = shapes ? shapes->words : std::vector<std::string>();
    const NearestSize nearest = nearest_size(*asked, request_.endpoint.field("resolution")->words, choices);
    const bool is_free = !has("resolution") && !has("aspect_ratio");
    if (!has("resolution")) body()["resolution"] = nearest.resolution;
    if (shapes && !has("aspect_ratio")) body()["aspect_ratio"] = nearest.aspect_ratio;
    if (shapes && is_free && !(nearest.size == *asked))
      request_.notes.push_back("size is " + pixels_text(nearest.size) + ", the nearest to " + pixels_text(*asked) +
                               " that the endpoint has");
  }

  /// What the load generator sends beside what our endpoints know.
  void take_settings() {
    const EndpointField* const drawn = request_.endpoint.field("interpolator_model");
    if (drawn && !has(drawn->name.c_str())) body()[drawn->name] = "none";
    json boundary = nullptr;
    const Parameter* const parameter = find_parameter("boundary");
    const Accepts* const accepts = parameter ? parameter->accepts(request_.endpoint.task) : nullptr;
    if (accepts) boundary = taken(body(), "boundary_ratio");
    if (!is_absent(boundary)) {
      EndpointField field;
      field.name = "boundary";
      field.parameter = parameter;
      field.kind = Kind::Number;
      field.range = accepts->hosted;
      request_.endpoint.fields.push_back(std::move(field));
      request_.names["boundary"] = "boundary_ratio";
      body()["boundary"] = std::move(boundary);
    }
    const json format = taken(body(), "output_format");
    if (!is_absent(format) && format != "mp4" && format != "auto")
      fail("output_format", "must be 'mp4' or 'auto', got " + shown(format) + "; videos are MP4 here", format);
  }

  const VideoDoor door_;
  const bool is_form_;
  ErrorList& errors_;
  VideoRequest request_;
};

}  // namespace

VideoRequest video_request(json sent, VideoDoor door, bool is_form, ErrorList& errors) {
  return Reader(std::move(sent), door, is_form, errors).run();
}

const Endpoint& video_endpoint(Task task) {
  for (const Endpoint& endpoint : endpoints())
    if (endpoint.vendor == Vendor::Fal && endpoint.task == task) return endpoint;
  throw std::logic_error(std::string("no endpoint for ") + task_name(task));
}

json taken(json& from, const char* name) {
  const auto found = from.is_object() ? from.find(name) : from.end();
  if (found == from.end()) return nullptr;
  json value = std::move(*found);
  from.erase(found);
  return value;
}

}  // namespace wan::serve
