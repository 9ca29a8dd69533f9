#include "engine/job/fetched.h"

#include <chrono>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/fetch/data_url.h"
#include "engine/fetch/download.h"
#include "engine/fetch/public_address.h"
#include "engine/media/image_reader.h"
#include "engine/request/files.h"
#include "models/files/atomic_file.h"
#include "models/files/digest.h"
#include "models/files/scratch_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

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
      if (given.starts_with("data:")) {
        const std::string bytes = data_url_bytes(given, field);
        part.write(bytes.data(), bytes.size());
      } else {
        download(given, field, part, limits_of(field, request), progress, label);
      }
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
  const Fetcher fetch{request, folder, progress, label};
  return {.image = fetch.file_of(request.image_url, "image_url"),
          .last_image = fetch.file_of(request.last_image_url, "last_image_url"),
          .video = fetch.file_of(request.video_url, "video_url"),
          .audio = fetch.file_of(request.audio_url, "audio_url"),
          .pose_video = fetch.file_of(request.pose_video_url, "pose_video_url")};
}

InputIdentities identify_fetched(const Request& request, Progress& progress) {
  const ScratchFolder scratch;
  return identify_inputs(request, input_files(request, scratch.path, progress).by_field());
}

}  // namespace wan
