#include "engine/job/fetched.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/av.h"
#include "engine/media/input.h"
#include "engine/request/files.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/files/part_file.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostBytes = int64_t(16) << 30;

struct CloseUrl {
  void operator()(AVIOContext* context) const { avio_close(context); }
};

std::unique_ptr<AVIOContext, CloseUrl> open_url(const std::string& url, const av::Source& source) {
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "http,https,tcp,tls,httpproxy,data", 0);
  av_dict_set(&options, "rw_timeout", "30000000", 0);  // microseconds without a byte
  AVIOContext* context = nullptr;
  int code = avio_open2(&context, url.c_str(), AVIO_FLAG_READ, nullptr, &options);
  av_dict_free(&options);
  if (code < 0) source.refuse(av::error_text(code));
  return std::unique_ptr<AVIOContext, CloseUrl>(context);
}

[[noreturn]] void fail(const std::string& path) {
  throw std::runtime_error("[" + shown_name(path) + "] cannot be written: " + std::generic_category().message(errno));
}

void write_all(int file, const uint8_t* bytes, int64_t count, const std::string& path) {
  while (count > 0) {
    ssize_t written = write(file, bytes, size_t(count));
    if (written < 0) fail(path);
    bytes += written;
    count -= written;
  }
}

struct OpenFile {
  int number;
  ~OpenFile() { close(number); }
};

/// Everything that `url` gives, into an open file.
void download(const std::string& url, const char* field, int file, const std::string& path) {
  const std::string name = shown_url(url);
  const av::Source source{name.substr(1, name.size() - 2), field, "a URL that can be read"};
  auto from = open_url(url, source);
  std::vector<uint8_t> buffer(1 << 20);
  for (int64_t total = 0;;) {
    int count = avio_read_partial(from.get(), buffer.data(), int(buffer.size()));
    if (count == AVERROR_EOF || count == 0) break;
    if (count < 0) source.refuse(av::error_text(count));
    total += count;
    if (total > kMostBytes) source.refuse("more than " + std::to_string(kMostBytes >> 30) + " GB");
    write_all(file, buffer.data(), count, path);
  }
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

}  // namespace

std::string copy_path(const std::string& prefix, const std::string& url) {
  return prefix + sha256({url}).substr(0, 32) + ".input";
}

FetchedMedia::FetchedMedia(Request& request, std::string prefix) : prefix_(std::move(prefix)) {
  av::silence();
  try {
    fetch(request.image_url, "image_url");
    fetch(request.last_image_url, "last_image_url");
    fetch(request.video_url, "video_url");
    fetch(request.audio_url, "audio_url");
    fetch(request.pose_video_url, "pose_video_url");
  } catch (...) {
    remove_fetched();
    throw;
  }
}

FetchedMedia::~FetchedMedia() {
  remove_fetched();
}

void FetchedMedia::remove_fetched() {
  std::error_code ignored;
  // The latest first: a folder goes only where it has become empty.
  for (auto path = fetched_.rbegin(); path != fetched_.rend(); ++path) fs::remove(*path, ignored);
}

void FetchedMedia::fetch(std::string& url, const char* field) {
  if (!is_url(url)) return;
  const std::string path = prefix_.empty() ? temporary_copy(url, field) : lasting_copy(url, field);
  copies_.push_back({path, url});
  url = path;
}

std::string FetchedMedia::temporary_copy(const std::string& url, const char* field) {
  std::string path = (fs::temp_directory_path() / ("wan-input-" + std::string(6, 'X'))).string();
  const OpenFile file{mkstemp(path.data())};
  if (file.number < 0) fail(path);
  fetched_.push_back(path);
  download(url, field, file.number, path);
  return path;
}

std::string FetchedMedia::lasting_copy(const std::string& url, const char* field) {
  const std::string path = copy_path(prefix_, url);
  if (fs::exists(path)) return path;
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && fs::create_directories(folder)) fetched_.push_back(folder);
  PartFile part(path);
  {
    const OpenFile file{open(part.part().c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC)};
    if (file.number < 0) fail(path);
    download(url, field, file.number, path);
  }
  part.commit();
  fetched_.push_back(path);
  return path;
}

void FetchedMedia::reading(const std::function<void()>& work) const {
  try {
    work();
  } catch (const InvalidRequest& invalid) {
    std::vector<FieldError> errors = invalid.errors;
    for (const Copy& copy : copies_) {
      const std::string name = shown_url(copy.url);
      for (FieldError& error : errors) {
        replace_all(error.wrong, shown_path(copy.path), name);
      }
    }
    throw InvalidRequest(errors);
  }
}

}  // namespace wan
