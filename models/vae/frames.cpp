#include "models/vae/frames.h"

#include <ATen/ATen.h>

namespace wan::vae {

at::Tensor to_uint8(const at::Tensor& frames) {
  TORCH_CHECK(frames.dim() == 4 && frames.size(0) == 3, "[to_uint8] frames must be [3, t, H, W], got ", frames.sizes());
  at::Tensor scaled = frames.clamp(-1, 1).add_(1).div_(2).mul_(255).nan_to_num_(0);
  return scaled.permute({1, 2, 3, 0}).to(at::kByte).contiguous();
}

}  // namespace wan::vae
