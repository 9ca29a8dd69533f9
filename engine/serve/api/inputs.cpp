#include "engine/serve/api/inputs.h"

#include <strings.h>

#include <algorithm>
#include <string_view>

#include "engine/base/error.h"
#include "engine/fetch/data_url.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/sound_length.h"
#include "engine/serve/api/stored_files.h"
#include "engine/serve/api/uploads.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kDownload = "file_download_error";

/// Whether a URL leads to this server by the name under which it was called.
bool leads_here(const std::string& url, const Exchange& exchange) {
  return url.starts_with(plain_url(exchange.base_url()) + "/") || url.starts_with(std::string(kOwnHost) + "/");
}

/// Whether a text is a data URL, which may be as long as a video: it is not copied for that.
bool is_data_url(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\f\v"), text.size()));
  return text.size() >= 5 && strncasecmp(text.data(), "data:", 5) == 0;
}

/// The media type that a data URL says, as far as it is plain; empty where it says none.
std::string type_in(std::string_view url) {
  constexpr size_t kLongest = 100;
  const std::string_view type = url.substr(std::min(url.find(':') + 1, url.size()), kLongest);
  return std::string(type.substr(0, type.find_first_of(";,")));
}

/// "image_url.png" for a data URL of this type.
std::string name_for(const std::string& field, const std::string& type) {
  const std::string kind = type.substr(type.find('/') + 1);
  const bool plain =
      !kind.empty() && kind.size() <= 8 && kind.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == kind.npos;
  return plain && type.find('/') != type.npos ? field + "." + kind : field;
}

void refuse(ErrorList& errors, const std::string& field, const std::string& why, const json& value) {
  add_error(errors, field, kDownload, "Failed to download the file: " + why, value);
}

/// What encoders add to the ends of a sound, in seconds; a worker takes as much more (engine/job/speech.cpp).
constexpr double kPadding = 0.25;

/// WaveSpeed's limit, as far as the file tells its length; the worker looks at others (most_audio_seconds).
void check_length(const Endpoint& endpoint, const EndpointField& field, const fs::path& path, const json& value,
                  ErrorList& errors) {
  if (endpoint.vendor != Vendor::WaveSpeed || field.media != "audio") return;
  if (stated_seconds(path, kWaveSpeedSeconds + kPadding) <= kWaveSpeedSeconds + kPadding) return;
  add_error(errors, field.name, "audio_duration_too_long",
            "Audio must last at most " + number_text(kWaveSpeedSeconds) + " s, and this lasts longer", value,
            {{"max_duration", kWaveSpeedSeconds}});
}

}  // namespace

Awaitable<OwnInputs> find_inputs(ApiContext& context, const Exchange& exchange, const Endpoint& endpoint,
                                 const Caller& caller, json& values, ErrorList& errors) {
  OwnInputs inputs;
  for (const EndpointField& field : endpoint.fields) {
    const auto sent = field.media.empty() ? values.end() : values.find(field.name);
    if (sent == values.end()) continue;
    const std::string& text = sent->get_ref<const std::string&>();
    const auto claim = std::make_shared<FilesInUse::Claim>(context.files.in_use());
    if (is_data_url(text)) {
      // Its content is read when all else is known to be right.
      inputs[field.name] = {
          .kind = OwnInput::Data, .name = name_for(field.name, type_in(text)), .path = {}, .claim = claim};
      *sent = "/data-url";
      continue;
    }
    const std::string url = plain_url(text);
    if (!is_url(url)) {
      refuse(errors, field.name, "it must be an http(s) URL, a file of this server or a data URL", *sent);
      continue;
    }
    const std::optional<std::string> upload = context.files.upload_of(url, exchange);
    const std::optional<std::string> output = context.files.output_of(url, exchange);
    std::optional<fs::path> path;
    // What is found from here on stays.
    for (const std::optional<std::string>* own : {&upload, &output})
      if (*own) claim->add(**own);
    if (upload) path = co_await find_upload(context, *upload, caller);
    if (output) {
      // Whoever knows the name of a video may fetch it.
      const fs::path video = context.files.output_path(*output);
      const bool there = co_await context.files.pool().run([&] {
        std::error_code failed;
        return fs::is_regular_file(fs::symlink_status(video, failed));
      });
      if (there) path = video;
    }
    if (path) {
      const json shown = *sent;
      inputs[field.name] = {upload ? OwnInput::Upload : OwnInput::Output, upload ? *upload : *output, *path, claim};
      *sent = path->string();
      co_await context.files.pool().run([&] { check_length(endpoint, field, *path, shown, errors); });
    } else if (leads_here(url, exchange)) {
      refuse(errors, field.name, "there is no such file on this server", *sent);
    } else {
      *sent = url;
    }
  }
  co_return inputs;
}

Awaitable<void> keep_inputs(ApiContext& context, const Endpoint& endpoint, const Caller& caller,
                            const OwnInputs& inputs, const json& body, json& fields, json& input, ErrorList& errors) {
  const Access::Form form = form_of(endpoint.vendor);
  for (const auto& [name, own] : inputs) {
    const EndpointField& field = *endpoint.field(name);
    UploadName upload{.file = own.name, .owner = caller.name, .type = "", .quota = 0};
    if (own.kind != OwnInput::Upload) {
      upload.file = Files::new_input_name(own.name);
      own.claim->add(upload.file);
      context.files.in_use().made(upload.file);
    }
    if (own.kind == OwnInput::Data) {
      const std::string& text = body.at(name).get_ref<const std::string&>();
      std::string bytes, why;
      co_await context.files.slow_pool().run([&] {
        try {
          bytes = data_url_bytes(plain_url(text), field.name.c_str());
        } catch (const InvalidRequest& invalid) {
          why = invalid.errors.at(0).wrong;
        }
      });
      if (!why.empty()) {
        refuse(errors, name, why, body.at(name));
        continue;
      }
      if (bytes.size() > context.settings.most_file_bytes) {
        add_error(errors, name, "file_too_large",
                  "A file may have at most " + std::to_string(context.settings.most_file_bytes) + " bytes",
                  body.at(name), {{"max_size", context.settings.most_file_bytes}});
        continue;
      }
      upload.type = plain_type(type_in(text));
      const RoomHold room = co_await take_room(context, form, caller.name, caller.quota, bytes.size());
      co_await keep_bytes(context, form, upload, bytes);
    } else if (own.kind == OwnInput::Output) {
      upload.type = "video/mp4";
      co_await keep_copy(context, form, caller.quota, upload, own.path);
    }
    const fs::path path = context.files.upload_path(upload.file);
    if (own.kind == OwnInput::Data)
      co_await context.files.pool().run([&] { check_length(endpoint, field, path, body.at(name), errors); });
    fields[field.parameter->name] = path.string();
    input[name] = "/files/uploads/" + upload.file;
  }
}

}  // namespace wan::serve
