#include "engine/serve/api/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <stdexcept>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/serve/api/byte_range.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/media_type.h"
#include "engine/serve/net/text.h"
#include "engine/serve/queue/ids.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestName = 100, kRandomLetters = 32;
constexpr std::string_view kNameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
constexpr char kOfClient = '_', kOfJob = '-';  // behind the random letters
constexpr std::string_view kIdLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

std::string name_of(const std::string& wanted, char mark) {
  const std::string name = wanted.substr(wanted.find_last_of("/\\") + 1);
  std::string letters;
  for (const char letter : name) letters += kNameLetters.find(letter) == kNameLetters.npos ? '_' : letter;
  const size_t most = kLongestName - kRandomLetters - 1;
  if (letters.size() > most) letters.erase(0, letters.size() - most);  // the end has the kind of file
  if (letters.empty()) letters = "file";
  return random_hex(kRandomLetters / 2) + mark + letters;
}

/// A name of the folder of outputs: "0123...ef.mp4", or what Files::new_name made. What is being written is not shown:
/// nobody has said yet whether it is refused or blurred.
bool is_output_name(std::string_view name) {
  return name.size() >= kRandomLetters && name.size() <= kLongestName && all_are(name, kNameLetters) &&
         all_are(name.substr(0, kRandomLetters), kIdLetters) && !name.ends_with(".part");
}

const std::string& checked(const std::string& name, bool good) {
  if (!good) throw std::invalid_argument("not a name of a file of this server");
  return name;
}

/// What is known of a file that is there.
struct Known {
  uint64_t size = 0;
  std::string tag;   // an ETag: changes with the content
  std::string type;  // empty: nothing that is shown
  std::string modified;
};

std::optional<Known> look_at(const fs::path& path) {
  struct stat state {};
  if (lstat(path.c_str(), &state) != 0 || !S_ISREG(state.st_mode)) return std::nullopt;
  char tag[80], date[64];
  std::snprintf(tag, sizeof tag, "\"%llx-%llx-%llx%08lx\"", static_cast<unsigned long long>(state.st_ino),
                static_cast<unsigned long long>(state.st_size), static_cast<unsigned long long>(state.st_mtim.tv_sec),
                static_cast<unsigned long>(state.st_mtim.tv_nsec));
  std::tm parts{};
  gmtime_r(&state.st_mtim.tv_sec, &parts);
  std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return Known{uint64_t(state.st_size), tag, media_type_of(path), date};
}

/// Whether "If-None-Match" or "If-Range" names the tag.
bool names(std::string_view header, const std::string& tag) {
  return header == "*" || header.find(tag) != header.npos;
}

Answer not_found() {
  return json_answer({{"detail", "Not Found"}}, 404);
}

/// Scripts of a file that somebody uploaded must not act as this server's pages: its type is that of a picture, sound
/// or video, or of a download, and it has a sandbox.
std::vector<Header> safe_headers(const Known& known, const std::string& name) {
  std::vector<Header> headers = {{"X-Content-Type-Options", "nosniff"},
                                 {"Content-Security-Policy", "sandbox; default-src 'none'"},
                                 {"Cross-Origin-Resource-Policy", "cross-origin"},
                                 {"Accept-Ranges", "bytes"},
                                 {"ETag", known.tag},
                                 {"Last-Modified", known.modified},
                                 {"Cache-Control", "private, no-cache"}};
  if (known.type.empty()) headers.emplace_back("Content-Disposition", "attachment; filename=\"" + name + "\"");
  return headers;
}

Answer file_answer(const Exchange& exchange, const fs::path& path, const std::string& name, const Known& known) {
  Answer answer{.type = known.type.empty() ? "application/octet-stream" : known.type,
                .headers = safe_headers(known, name)};
  const std::optional<std::string_view> unless = exchange.header("If-None-Match");
  if (unless && names(*unless, known.tag)) {
    answer.status = 304;
    return answer;
  }
  FileBody body{path, 0, known.size};
  const std::optional<std::string_view> asked = exchange.header("Range"), same = exchange.header("If-Range");
  const bool is_same = !same || *same == known.tag || *same == known.modified;
  if (const auto range = asked && is_same ? parse_range(*asked, known.size) : std::nullopt) {
    if (range->outside) {
      Answer refusal = json_answer({{"detail", "The range lies outside of the file"}}, 416);
      refusal.headers.emplace_back("Content-Range", "bytes */" + std::to_string(known.size));
      return refusal;
    }
    answer.status = 206;
    answer.headers.emplace_back("Content-Range", "bytes " + std::to_string(range->begin) + "-" +
                                                     std::to_string(range->end - 1) + "/" + std::to_string(known.size));
    body.begin = range->begin;
    body.end = range->end;
  }
  answer.file = std::move(body);
  return answer;
}

/// A preview is replaced while its job runs, so that it is read at once: its size and its bytes belong together.
std::optional<std::string> read_preview(const fs::path& path) {
  constexpr size_t kMost = 4 << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string bytes(kMost, '\0');
  file.read(bytes.data(), std::streamsize(bytes.size()));
  bytes.resize(size_t(file.gcount()));
  if (bytes.size() == kMost || media_type(bytes) != "image/jpeg") return std::nullopt;
  return bytes;
}

Answer preview_answer(std::string bytes) {
  return {.body = std::move(bytes),
          .type = "image/jpeg",
          .headers = {{"X-Content-Type-Options", "nosniff"},
                      {"Content-Security-Policy", "sandbox; default-src 'none'"},
                      {"Cross-Origin-Resource-Policy", "cross-origin"},
                      {"Cache-Control", "no-store"}}};
}

/// The name behind "/files/FOLDER/" in a URL; nothing for others.
std::optional<std::string> name_in(const std::string& url, std::string_view folder) {
  const size_t scheme = url.find("://");
  if (scheme == url.npos || !(url.starts_with("http") || url.starts_with("HTTP"))) return std::nullopt;
  const size_t slash = url.find('/', scheme + 3);
  if (slash == url.npos) return std::nullopt;
  std::string path = url.substr(slash, url.find_first_of("?#", slash) - slash);
  const std::string begin = "/files/" + std::string(folder) + "/";
  if (!path.starts_with(begin)) return std::nullopt;
  return path.substr(begin.size());
}

}  // namespace

Files::Files(fs::path data, Jobs& jobs) : data_(fs::absolute(data)), jobs_(jobs) {
  for (const char* folder : {"uploads", "outputs", "previews", "parts"}) {
    std::error_code failed;
    const fs::path path = data_ / folder;
    fs::create_directories(path, failed);
    if (!failed) fs::permissions(path, fs::perms::owner_all, failed);
    if (failed || access(path.c_str(), R_OK | W_OK | X_OK) != 0)
      throw InvalidRequest("data", "must be a folder that can be written to, and " + shown_path(path.string()) +
                                       " cannot" + (failed ? ": " + failed.message() : ""));
  }
}

std::string Files::new_name(const std::string& wanted) {
  return name_of(wanted, kOfClient);
}

std::string Files::new_input_name(const std::string& wanted) {
  return name_of(wanted, kOfJob);
}

bool Files::is_name(std::string_view text) {
  return text.size() > kRandomLetters + 1 && text.size() <= kLongestName &&
         all_are(text.substr(0, kRandomLetters), "0123456789abcdef") &&
         (text[kRandomLetters] == kOfClient || text[kRandomLetters] == kOfJob) && all_are(text, kNameLetters);
}

bool Files::is_input_name(std::string_view text) {
  return is_name(text) && text[kRandomLetters] == kOfJob;
}

fs::path Files::upload_path(const std::string& name) const {
  return data_ / "uploads" / checked(name, is_name(name));
}

fs::path Files::output_path(const std::string& name) const {
  return data_ / "outputs" / checked(name, is_output_name(name));
}

fs::path Files::preview_path(const std::string& key) const {
  return data_ / "previews" / (checked(key, !key.empty() && all_are(key, kIdLetters)) + ".jpg");
}

fs::path Files::parts_path(const std::string& upload) const {
  return data_ / "parts" / checked(upload, !upload.empty() && all_are(upload, kIdLetters));
}

// Work for the pool holds references alone: of what it held by value within an awaiting expression, GCC 12 destroys a
// copy that was never made.
Awaitable<Answer> Files::answer(Exchange& exchange) {
  const std::vector<std::string>& segments = exchange.segments();
  if (segments.size() != 3 || segments[0] != "files") co_return not_found();
  const std::string &folder = segments[1], name = segments[2];
  fs::path path;
  if (folder == "uploads" && is_name(name)) {
    path = upload_path(name);
  } else if (folder == "outputs" && is_output_name(name)) {
    path = output_path(name);
  } else if (folder == "previews" && name.size() > 4 && name.ends_with(".jpg") &&
             all_are(name.substr(0, name.size() - 4), kIdLetters)) {
    path = data_ / "previews" / name;
    std::optional<std::string> bytes = co_await pool_.run([&] { return read_preview(path); });
    co_return bytes ? preview_answer(std::move(*bytes)) : not_found();
  } else {
    co_return not_found();
  }
  std::optional<Known> known = co_await pool_.run([&] { return look_at(path); });
  if (!known) co_return not_found();
  if (known->type.empty() && folder == "uploads") known->type = co_await type_that_came_with(name);
  co_return file_answer(exchange, path, name, *known);
}

Awaitable<Answer> Files::output(const Exchange& exchange, std::string name) {
  if (!is_output_name(name)) co_return not_found();
  const fs::path path = output_path(name);
  const std::optional<Known> known = co_await pool_.run([&] { return look_at(path); });
  if (!known) co_return not_found();
  co_return file_answer(exchange, path, name, *known);
}

Awaitable<std::optional<Answer>> Files::preview(std::string key) {
  const fs::path path = preview_path(key);
  std::optional<std::string> bytes = co_await pool_.run([&] { return read_preview(path); });
  std::optional<Answer> answer;
  if (bytes) answer = preview_answer(std::move(*bytes));
  co_return answer;
}

/// Empty where it says nothing that may be sent, or the store does not answer.
Awaitable<std::string> Files::type_that_came_with(const std::string& upload) {
  const std::function<std::string(Store&)> question = [upload](Store& store) {
    const std::optional<PutUpload> known = store.find_upload(upload);
    return known && is_plain_media(known->type) ? known->type : std::string();
  };
  std::string type;
  try {
    type = co_await jobs_.ask(question);
  } catch (const HttpError&) {
  }
  co_return type;
}

std::optional<std::string> Files::upload_of(const std::string& url, const Exchange&) const {
  const std::optional<std::string> name = name_in(url, "uploads");
  return name && is_name(*name) ? name : std::nullopt;
}

std::optional<std::string> Files::output_of(const std::string& url, const Exchange&) const {
  const std::optional<std::string> name = name_in(url, "outputs");
  return name && is_output_name(*name) ? name : std::nullopt;
}

bool is_plain_media(std::string_view type) {
  const std::string lower = lower_case(type.substr(0, type.find(';')));
  if (lower.find("svg") != lower.npos || lower.find("xml") != lower.npos) return false;
  return lower.starts_with("image/") || lower.starts_with("audio/") || lower.starts_with("video/");
}

void add_file_routes(Router& router, ApiContext& context) {
  for (const char* path : {"/files/uploads/{name}", "/files/outputs/{name}", "/files/previews/{name}"})
    router.add("GET", path, [&context](Exchange& exchange, const Captures&) { return context.files.answer(exchange); });
}

}  // namespace wan::serve
