// Sizes of videos in pixels: the endpoints' table, and the reference's rules for a size that follows the input.
#pragma once

#include <cstdint>
#include <string>

#include "engine/request/request.h"

namespace wan {

struct Size {
  int64_t width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

/// Size and length of a job's video: the request's, and where it leaves them open, what follows from its input.
struct Geometry {
  int64_t width = 0, height = 0;  // pixels; 0 until the input is known
  int64_t num_frames = 0;         // of the file
};
/// The request's own geometry: what it leaves open is 0.
Geometry asked_geometry(const Request& request);
/// Frames that the model renders for a file of `num_frames`: the next 4n + 1, or 4n for speech.
int64_t rendered_frames(Task task, int64_t num_frames);

/// Pixels of a size class (480p, 580p, 720p): 399,360, 589,824 or 921,600.
int64_t area_of(const std::string& resolution);

/// Size class by shape (16:9, 9:16, 1:1).
Size size_of(const std::string& resolution, const std::string& aspect_ratio);

/// The input's shape in at most `max_area` pixels, sides multiples of 16; a side is 0 where the shape is too long for
/// it. Source: wan/image2video.py, generate.
Size size_by_area(int64_t image_width, int64_t image_height, int64_t max_area);

/// The same for speech: multiples of 64, and never enlarged beyond the next of them.
/// Source: wan/speech2video.py, get_size_less_than_area.
Size speech_size_by_area(int64_t image_width, int64_t image_height, int64_t max_area);

/// The size of the request's video for an input of this size, in pixels; the request's own where it has one.
/// Throws InvalidRequest where the input's shape fits in no size.
Size video_size(const Request& request, int64_t input_width, int64_t input_height);
/// Puts that size into `geometry`.
void settle_size(const Request& request, int64_t input_width, int64_t input_height, Geometry& geometry);

}  // namespace wan
