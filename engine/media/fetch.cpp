#include "engine/media/fetch.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "engine/media/av.h"
#include "engine/media/input.h"
#include "engine/request/files.h"

namespace wan {
namespace {

constexpr int64_t kMostBytes = int64_t(16) << 30;
constexpr size_t kShownUrl = 200;  // a data URL can be megabytes

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

void write_all(int file, const uint8_t* bytes, int64_t count, const std::string& path) {
  while (count > 0) {
    ssize_t written = write(file, bytes, size_t(count));
    if (written < 0)
      throw std::runtime_error("[" + path + "] cannot be written: " + std::generic_category().message(errno));
    bytes += written;
    count -= written;
  }
}

}  // namespace

FetchedMedia::FetchedMedia(Request& request) {
  av::silence();
  fetch(request.image_url, "image_url");
  fetch(request.last_image_url, "last_image_url");
  fetch(request.video_url, "video_url");
  fetch(request.audio_url, "audio_url");
  fetch(request.pose_video_url, "pose_video_url");
}

FetchedMedia::Copies::~Copies() {
  for (const std::string& path : paths) unlink(path.c_str());
}

void FetchedMedia::fetch(std::string& url, const char* field) {
  if (!is_url(url)) return;
  av::Source source{url.substr(0, kShownUrl), field, "a URL that can be read"};
  auto from = open_url(url, source);
  std::string path = (std::filesystem::temp_directory_path() / ("wan-input-" + std::string(6, 'X'))).string();
  int file = mkstemp(path.data());
  if (file < 0) throw std::runtime_error("[" + path + "] cannot be written: " + std::generic_category().message(errno));
  copies_.paths.push_back(path);
  struct Close {
    int file;
    ~Close() { close(file); }
  } closing{file};
  std::vector<uint8_t> buffer(1 << 20);
  for (int64_t total = 0;;) {
    int count = avio_read_partial(from.get(), buffer.data(), int(buffer.size()));
    if (count == AVERROR_EOF || count == 0) break;
    if (count < 0) source.refuse(av::error_text(count));
    total += count;
    if (total > kMostBytes) source.refuse("more than " + std::to_string(kMostBytes >> 30) + " GB");
    write_all(file, buffer.data(), count, path);
  }
  url = path;
}

}  // namespace wan
