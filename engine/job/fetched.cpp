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
#include "models/files/atomic_file.h"
#include "models/files/digest.h"

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

/// Everything that `url` gives, into `file`.
void download(const std::string& url, const char* field, AtomicFile& file) {
  const av::Source source{{url, field, shown_url(url)}, "a URL that can be read"};
  auto from = open_url(url, source);
  std::vector<uint8_t> buffer(1 << 20);
  for (int64_t total = 0;;) {
    int count = avio_read_partial(from.get(), buffer.data(), int(buffer.size()));
    if (count == AVERROR_EOF || count == 0) break;
    if (count < 0) source.refuse(av::error_text(count));
    total += count;
    if (total > kMostBytes) source.refuse("more than " + std::to_string(kMostBytes >> 30) + " GB");
    file.write(buffer.data(), size_t(count));
  }
}

MediaFile file_of(const std::string& given, const char* field, const fs::path& folder) {
  if (!is_url(given)) return {given, field};
  const fs::path path = copy_path(folder, given);
  if (!fs::exists(path)) {
    AtomicFile part(path.string());
    download(given, field, part);
    part.commit();
  }
  return {path.string(), field, shown_url(given)};
}

}  // namespace

std::vector<const MediaFile*> InputFiles::all() const {
  std::vector<const MediaFile*> named;
  for (const MediaFile* file : {&image, &last_image, &video, &audio, &pose_video})
    if (!file->path.empty()) named.push_back(file);
  return named;
}

std::map<std::string, std::string> InputFiles::by_field() const {
  std::map<std::string, std::string> paths;
  for (const MediaFile* file : all()) paths[file->field] = file->path;
  return paths;
}

fs::path copy_path(const fs::path& folder, const std::string& url) {
  return folder / (sha256({url}).substr(0, 32) + ".input");
}

InputFiles input_files(const Request& request, const fs::path& folder) {
  av::silence();
  return {.image = file_of(request.image_url, "image_url", folder),
          .last_image = file_of(request.last_image_url, "last_image_url", folder),
          .video = file_of(request.video_url, "video_url", folder),
          .audio = file_of(request.audio_url, "audio_url", folder),
          .pose_video = file_of(request.pose_video_url, "pose_video_url", folder)};
}

}  // namespace wan
