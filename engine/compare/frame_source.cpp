#include "engine/compare/frame_source.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "engine/media/image_reader.h"
#include "engine/media/media_kind.h"

namespace wan {
namespace {

/// GIFs are read as videos, whether they move or not.
bool is_picture_file(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  char first[4] = {};
  std::ifstream(path, std::ios::binary).read(first, sizeof first);
  return media_kind_of(path) == "a picture" && std::string_view(first, sizeof first) != "GIF8";
}

}  // namespace

FrameSource::FrameSource(const MediaFile& file) {
  if (is_picture_file(file.path)) {
    picture_ = read_image(file, &notes_);
    info_ = {.width = picture_.size(1),
             .height = picture_.size(0),
             .rate = {},
             .frames = 1,
             .seconds = 0,
             .has_audio = false};
    return;
  }
  video_.emplace(file);
  info_ = video_->info();
}

std::optional<VideoFrame> FrameSource::next() {
  if (video_) return video_->next();
  if (!picture_.defined()) return std::nullopt;
  taken_ = true;
  return VideoFrame{std::exchange(picture_, at::Tensor()), {0, 1}, {0, 1}};
}

void FrameSource::tell(Notes& notes) const {
  for (const Note& note : notes_.list()) notes.add(note);
  if (video_) video_->tell(notes);
}

}  // namespace wan
