#include "tools/remote/upload.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <type_traits>

#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/hosted.h"
#include "tools/cli/server_flags.h"

namespace wan::remote {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The last component in letters that every server takes.
std::string plain_name(const std::string& path) {
  constexpr size_t kLongest = 100;
  std::string name = fs::path(path).filename().string();
  if (name.size() > kLongest) name.erase(0, name.size() - kLongest);  // the ending stays
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter)) && letter != '.' && letter != '-') letter = '_';
  return name;
}

/// What the ending says; the server looks at the content.
const char* type_of(const std::string& name) {
  constexpr const char* kTypes[][2] = {
      {".png", "image/png"},       {".jpg", "image/jpeg"},  {".jpeg", "image/jpeg"},     {".webp", "image/webp"},
      {".gif", "image/gif"},       {".bmp", "image/bmp"},   {".tiff", "image/tiff"},     {".heic", "image/heic"},
      {".avif", "image/avif"},     {".wav", "audio/wav"},   {".mp3", "audio/mpeg"},      {".flac", "audio/flac"},
      {".ogg", "audio/ogg"},       {".m4a", "audio/mp4"},   {".aac", "audio/aac"},       {".mp4", "video/mp4"},
      {".mov", "video/quicktime"}, {".webm", "video/webm"}, {".mkv", "video/x-matroska"}};
  std::string ending = fs::path(name).extension().string();
  for (char& letter : ending) letter = char(std::tolower(static_cast<unsigned char>(letter)));
  for (const auto& [known, type] : kTypes)
    if (ending == known) return type;
  return "application/octet-stream";
}

std::string text_in(const json& ticket, const char* name, const std::string& server) {
  const auto found = ticket.find(name);
  if (found != ticket.end() && found->is_string()) return found->get<std::string>();
  throw ServerFailure("[server] " + shown_url(server) + " answers an upload without " + name + "; is it a wan-serve?");
}

}  // namespace

json body_of(const Request& request, const std::vector<std::string>& given,
             const std::function<std::string(const char* field, const std::string& path)>& uploaded) {
  json body = json::object();
  for (const Parameter& parameter : parameters()) {
    if (!is_hosted(parameter, request.task)) continue;
    if (std::find(given.begin(), given.end(), parameter.name) == given.end()) continue;
    if (parameter.given && !(request.*parameter.given)) continue;
    json value = std::visit([&](auto field) -> json { return request.*field; }, parameter.field);
    if (parameter.media && !is_url(value.get<std::string>()))
      value = uploaded(parameter.name, value.get<std::string>());
    body[parameter.name] = std::move(value);
  }
  return body;
}

std::string submitted_id(const json& answer) {
  const auto found = answer.find("request_id");
  const std::string id = found != answer.end() && found->is_string() ? found->get<std::string>() : "";
  try {
    if (!id.empty()) return check_job_id(id), id;
  } catch (const InvalidRequest&) {
  }
  throw Unsure(
      "[server] answers the request without the id of a job: it may or may not have taken it; is it a wan-serve?");
}

std::string Uploads::url_of(const char* field, const std::string& path) {
  if (const auto known = urls_.find(path); known != urls_.end()) return known->second;
  std::error_code error;
  const uint64_t bytes = fs::is_regular_file(path, error) ? uint64_t(fs::file_size(path, error)) : 0;
  if (error || bytes == 0) throw InvalidRequest(field, "must be a file with content, got " + shown_path(path));
  const std::string name = plain_name(path), type = type_of(name);
  for (int64_t failures = 0;; ++failures) {
    const json ticket = server_.post("/storage/upload/initiate?storage_type=fal-cdn-v3",
                                     {{"file_name", name}, {"content_type", type}}, field);
    const std::string to = server_.whole_url(text_in(ticket, "upload_url", server_.url()));
    const std::string url = server_.whole_url(text_in(ticket, "file_url", server_.url()));
    try {
      const HttpAnswer answer = server_.ask_freely(
          {.method = "PUT", .url = to, .headers = {"Content-Type: " + type}, .file = path, .label = name});
      server_.check_later(answer, failures);
      if (answer.status < 200 || answer.status >= 300) refuse(answer, field, server_.url());
      server_.console().log()("upload", {{"file", name}, {"bytes", bytes}});
      return urls_[path] = url;
    } catch (const NoAnswer& none) {
      server_.pause_after(none, failures);
    }
  }
}

}  // namespace wan::remote
