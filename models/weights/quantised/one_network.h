// The tensors of one network out of all tensors of a checkpoint, by the names that the network has for them.
#pragma once

#include <string>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// One network of a checkpoint.
struct OneNetwork {
  StoredTensors tensors;  // without the prefix
  std::string prefix;     // that was taken from the names: "model.diffusion_model."; empty where there was none
  std::vector<std::string> left_out;  // other networks of the same file, by the first word of their names, in order
};

/// Takes away the prefix that all tensors of the network bear: "model.diffusion_model.", "diffusion_model.", "model.",
/// "net." or "module."; a marker scaled_fp8 may lack it. Where a file holds "model.diffusion_model." and beside it
/// nothing but networks that ComfyUI stores with one (VAE, text encoders, CLIP), these are left out and listed; in any
/// other mixture all names stay. Throws ModelError about `label` where two names become one.
OneNetwork one_network(StoredTensors tensors, const std::string& label);

}  // namespace wan
