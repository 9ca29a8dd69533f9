// LPIPS with the weights that a user has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/lpips/model.h"

namespace wan {

/// `files`: one with backbone and linear layers (the state dict of lpips.LPIPS), or two in either order, one with the backbone
/// (torchvision's AlexNet or VGG16) and one with the linear layers (of the package lpips, weights/v0.1). Which network it is
/// their names and shapes tell. Throws ModelError for files that are absent, damaged or hostile, hold something else, lack
/// tensors, do not belong to each other or hold NaN; InvalidRequest about "lpips" for more than two.
std::unique_ptr<const lpips::Model> load_lpips(const std::vector<std::string>& files);

}  // namespace wan
