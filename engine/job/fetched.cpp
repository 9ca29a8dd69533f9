#include "engine/job/fetched.h"

#include <chrono>
#include <filesystem>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/av.h"
#include "engine/media/download.h"
#include "engine/media/image_reader.h"
#include "engine/media/input.h"
#include "engine/media/public_address.h"
#include "engine/request/files.h"
#include "models/files/atomic_file.h"
#include "models/files/digest.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

struct CloseUrl {
  void operator()(AVIOContext* context) const { avio_close(context); }
};

/// The content of a data URL.
void write_data_url(const std::string& url, const char* field, AtomicFile& file) {
  const av::Source source{{url, field, shown_url(url)}, "a URL that can be read"};
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "data", 0);
  AVIOContext* context = nullptr;
  int code = avio_open2(&context, url.c_str(), AVIO_FLAG_READ, nullptr, &options);
  av_dict_free(&options);
  if (code < 0) source.refuse(av::error_text(code));
  const std::unique_ptr<AVIOContext, CloseUrl> from(context);
  std::vector<uint8_t> buffer(1 << 20);
  for (;;) {
    int count = avio_read_partial(from.get(), buffer.data(), int(buffer.size()));
    if (count == AVERROR_EOF || count == 0) break;
    if (count < 0) source.refuse(av::error_text(count));
    file.write(buffer.data(), size_t(count));
  }
}

DownloadLimits limits_of(const std::string& field, const Request& request) {
  DownloadLimits limits;
  if (!request.private_urls) limits.may_connect = is_public_address;
  if (field != "image_url" && field != "last_image_url") return limits;
  limits.most_bytes = kMostImageBytes;
  limits.whole = std::chrono::minutes(5);
  return limits;
}

/// The inputs of one request, one after another.
struct Fetcher {
  const Request& request;
  const fs::path& folder;
  Progress& progress;
  const std::string& label;

  MediaFile file_of(const std::string& given, const char* field) const {
    if (!is_url(given)) return {given, field};
    const fs::path path = copy_path(folder, given);
    if (!fs::exists(path)) {
      AtomicFile part(path.string());
      if (given.starts_with("data:"))
        write_data_url(given, field, part);
      else
        download(given, field, part, limits_of(field, request), progress, label);
      part.commit();
    }
    return {path.string(), field, shown_url(given)};
  }
};

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

InputFiles input_files(const Request& request, const fs::path& folder, Progress& progress, const std::string& label) {
  av::silence();
  const Fetcher fetch{request, folder, progress, label};
  return {.image = fetch.file_of(request.image_url, "image_url"),
          .last_image = fetch.file_of(request.last_image_url, "last_image_url"),
          .video = fetch.file_of(request.video_url, "video_url"),
          .audio = fetch.file_of(request.audio_url, "audio_url"),
          .pose_video = fetch.file_of(request.pose_video_url, "pose_video_url")};
}

}  // namespace wan
