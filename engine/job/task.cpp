#include "engine/job/task.h"

#include "engine/job/image_task.h"
#include "engine/job/video_task.h"

namespace wan {

namespace {

constexpr TaskWork kText = {nullptr, nullptr};
constexpr TaskWork kImage = {load_images, encode_images};
constexpr TaskWork kVideo = {load_video, encode_video};

}  // namespace

const TaskWork& work_of(Task task) {
  return task == Task::I2V ? kImage : task == Task::V2V ? kVideo : kText;
}

}  // namespace wan
