#include "engine/serve/api/openai_body.h"

#include <optional>
#include <string>
#include <string_view>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/form_data.h"
#include "engine/serve/api/inputs.h"
#include "engine/serve/api/stored_files.h"
#include "engine/serve/api/submit.h"
#include "engine/serve/api/uploads.h"
#include "models/files/utf8.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr Access::Form kForm = Access::Form::OpenAi;

bool may_be_file(std::string_view name) {
  for (const char* field : {"input_reference", "image_url", "audio_url", "video_url", "video"})
    if (name == field) return true;
  return false;
}

/// Keeps a file that belongs to the job that comes of the request, and returns its URL.
Awaitable<std::string> keep_file(ApiContext& context, const Caller& caller, const FormPart& part,
                                 const std::shared_ptr<FilesInUse::Claim>& claim) {
  UploadName upload;
  upload.file = Files::new_input_name(part.file_name.empty() ? part.name : part.file_name);
  upload.owner = caller.name;
  upload.type = plain_type(part.type);
  claim->add(upload.file);
  context.files.in_use().made(upload.file);
  const uint64_t most = context.settings.most_file_bytes;
  if (part.bytes.size() > most)
    throw HttpError(
        refusal(kForm, 413, "file_too_large", "A file may have at most " + std::to_string(most) + " bytes"));
  const RoomHold room = co_await take_room(context, kForm, caller.name, caller.quota, part.bytes.size());
  co_await keep_bytes(context, kForm, upload, part.bytes);
  co_return own_url("uploads", upload.file);
}

/// Puts "a" or "a[b]" into the object; of what comes twice the last one counts.
void put(json& into, const std::string& name, std::string value) {
  const size_t begin = name.find('[');
  const bool is_member = begin != name.npos && begin > 0 && name.ends_with(']') && name.size() > begin + 2;
  if (!is_member) {
    into[name] = std::move(value);
    return;
  }
  json& outer = into[name.substr(0, begin)];
  if (!outer.is_object()) outer = json::object();
  outer[name.substr(begin + 1, name.size() - begin - 2)] = std::move(value);
}

/// A field of a form that is no file.
void put_text(json& into, const FormPart& part, ErrorList& errors) {
  if (is_utf8(part.bytes) && is_utf8(part.name)) return put(into, part.name, std::string(part.bytes));
  const std::string name = is_utf8(part.name) ? part.name : "";
  add_error(errors, name, "string_type", "Input should be a valid string: UTF-8", nullptr);
}

/// What is wrong with a part that is a file; empty: nothing.
std::string wrong_file(const FormPart& part) {
  if (!may_be_file(part.name))
    return "Input should be text, got a file; files are taken as input_reference, image_url, audio_url and video_url";
  return part.bytes.empty() ? "Input should be a file, got one of 0 bytes" : "";
}

}  // namespace

std::string own_url(const char* folder, const std::string& file) {
  std::string url = kOwnHost;
  for (const std::string_view part :
       {std::string_view("/files/"), std::string_view(folder), std::string_view("/"), std::string_view(file)})
    url += part;
  return url;
}

Awaitable<VideoBody> read_video_body(ApiContext& context, Exchange& exchange, const Caller& caller, ErrorList& errors,
                                     BodyBudget::Share& share) {
  VideoBody body;
  const uint64_t most = most_body(context.settings);
  const std::optional<std::string> boundary = form_boundary(exchange.header("Content-Type").value_or(""));
  if (!boundary) {
    body.json = co_await read_any(exchange, context.files.slow_pool(), kForm, most, errors, &share);
    co_return body;
  }
  const std::string text = co_await read_text(exchange, kForm, most, &share);
  std::vector<FormPart> parts;
  std::string why;
  body.json = json::object();
  auto read = [&] {
    try {
      parts = form_parts(text, *boundary);
    } catch (const BrokenForm& broken) {
      why = broken.what();
      return;
    }
    for (const FormPart& part : parts)
      if (!part.is_file) put_text(body.json, part, errors);
  };
  co_await context.files.slow_pool().run(read);
  if (!why.empty()) {
    body.json = nullptr;
    add_error(errors, "", "form_invalid", "The form " + why, nullptr);
    co_return body;
  }
  body.is_form = true;
  for (const FormPart& part : parts) {
    if (!part.is_file) continue;
    const std::string wrong = wrong_file(part);
    if (!wrong.empty()) {
      add_error(errors, is_utf8(part.name) ? part.name : "", "file_type", wrong, nullptr);
      continue;
    }
    const auto claim = std::make_shared<FilesInUse::Claim>(context.files.in_use());
    body.claims.push_back(claim);
    const std::string url = co_await keep_file(context, caller, part, claim);
    body.json[part.name] = url;
  }
  co_return body;
}

}  // namespace wan::serve
