#include "engine/job/task.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/job/image_task.h"
#include "engine/job/video_task.h"

namespace wan {

namespace {

constexpr TaskWork kText = {nullptr, nullptr};
constexpr TaskWork kImage = {load_images, encode_images};
constexpr TaskWork kVideo = {load_video, encode_video};

}  // namespace

void note_cropping(const char* field, const Size& input, const Geometry& video, Notes& notes, const char* change) {
  const double wide = double(input.width) * double(video.height), high = double(input.height) * double(video.width);
  const double lost = 1 - std::min(wide, high) / std::max(wide, high);
  if (lost < 0.05) return;
  notes.add({field,
             "its " + std::to_string(input.width) + "x" + std::to_string(input.height) +
                 " pixels are cut to the shape of " + std::to_string(video.width) + "x" + std::to_string(video.height) +
                 ": " + std::to_string(std::lround(100 * lost)) + " % are left out",
             change});
}

const TaskWork& work_of(Task task) {
  return task == Task::I2V ? kImage : task == Task::V2V ? kVideo : kText;
}

}  // namespace wan
