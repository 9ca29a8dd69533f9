#include "tests/engine/media_ffmpeg.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace wan {

std::vector<int64_t> ReadVideo::colour() const {
  const at::Tensor& rgb = frames.at(0).rgb;
  const at::Tensor middle = rgb[rgb.size(0) / 2][rgb.size(1) / 2];
  return {middle[0].item<int64_t>(), middle[1].item<int64_t>(), middle[2].item<int64_t>()};
}

bool ReadVideo::tells(const std::string& words) const {
  for (const Note& note : notes)
    if (note.text.find(words) != std::string::npos) return true;
  return false;
}

ReadVideo read_whole(const std::string& path, const VideoReading& how) {
  ReadVideo video;
  VideoReader reader({path, "video_url"}, how);
  while (std::optional<VideoFrame> frame = reader.next()) video.frames.push_back(*frame);
  Notes notes;
  reader.tell(notes);
  video.notes = notes.list();
  return video;
}

std::string refusal_of(const std::string& path, const VideoReading& how) {
  try {
    read_whole(path, how);
    return "";
  } catch (const InvalidRequest& error) {
    return error.what();
  }
}

}  // namespace wan
