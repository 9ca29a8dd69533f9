#include "engine/frames/preview_file.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <stdexcept>

#include "engine/media/picture_file.h"

namespace wan {

namespace {

constexpr int64_t kFewest = 12;  // pictures of a run with as many steps
constexpr std::chrono::seconds kPause(1);

}  // namespace

bool PreviewFile::shows(int64_t step, int64_t steps) {
  const int64_t every = std::max<int64_t>(1, steps / kFewest);
  return step + 1 >= steps || (step + 1) % every == 0;
}

bool PreviewFile::take(const at::Tensor& estimate, int64_t step, int64_t steps) {
  if (!shows(step, steps)) return false;
  const Clock::time_point now = now_();
  const bool last = step + 1 >= steps;
  if (began_ && !last && now - last_ < kPause) return false;
  began_ = true;
  last_ = now;
  const at::Tensor picture = vae::preview_picture(map_, estimate);
  try {
    replace_picture(path_, picture);
    return true;
  } catch (const std::runtime_error& error) {
    if (!told_) log_("note", {{"subject", "preview"}, {"text", std::string("cannot be shown: ") + error.what()}});
    told_ = true;
    return false;
  }
}

}  // namespace wan
