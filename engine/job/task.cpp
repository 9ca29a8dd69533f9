#include "engine/job/task.h"

#include "engine/frames/vae_clip.h"

namespace wan {

namespace {

Encoded encode_images(Networks& networks, const Request& request, const Inputs& inputs, const Run& run) {
  Encoded encoded;
  encoded.conditioning.image = encode_in_range(networks, [&](const vae::Vae& vae) {
    return image_condition(vae, inputs.image, inputs.last_image, request.rendered_frames(), run);
  });
  return encoded;
}

Encoded encode_video(Networks& networks, const Request&, const Inputs& inputs, const Run& run) {
  Encoded encoded;
  encoded.clean = encode_in_range(networks, [&](const vae::Vae& vae) { return video_latent(vae, inputs.video, run); });
  return encoded;
}

constexpr TaskWork kText = {nullptr, nullptr};
constexpr TaskWork kImage = {
    [](const Request& request, const InputFiles& files, const Log&) { return load_images(request, files); },
    encode_images};
constexpr TaskWork kVideo = {load_video, encode_video};

}  // namespace

const TaskWork& work_of(Task task) {
  return task == Task::I2V ? kImage : task == Task::V2V ? kVideo : kText;
}

}  // namespace wan
