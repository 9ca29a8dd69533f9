#include "tools/serve/video_length.h"

#include "engine/media/video_reader.h"

namespace wan {

double video_seconds_of(const std::filesystem::path& video) {
  try {
    return VideoReader({video.string(), "out"}).info().seconds;
  } catch (const std::exception&) {  // the video is there all the same
    return 0;
  }
}

}  // namespace wan
