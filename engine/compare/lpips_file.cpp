#include "engine/compare/lpips_file.h"

#include <ATen/ATen.h>

#include <optional>

#include "engine/base/error.h"
#include "models/files/error.h"
#include "models/recognise.h"

namespace wan {
namespace {

constexpr const char* kForms =
    "one file has the state dict of lpips.LPIPS (net='alex' or 'vgg'), or two have torchvision's AlexNet or VGG16 and "
    "the "
    "linear layers that the package lpips brings (weights/v0.1/alex.pth, vgg.pth)";

/// A file and what it holds.
struct Opened {
  Checkpoint checkpoint;
  lpips::Contents contents;

  bool has_features() const { return !contents.features.empty(); }
  bool has_heads() const { return !contents.heads.empty(); }
};

Opened open(const std::string& file) {
  Opened opened{Checkpoint::open(file), {}};
  opened.contents = lpips::contents_of(opened.checkpoint.tensors());
  if (!opened.has_features() && !opened.has_heads())
    throw ModelError(file,
                     "must be weights of LPIPS, is: " + recognise(opened.checkpoint.tensors()).name + "; " + kForms);
  if (!opened.contents.known)
    throw ModelError(file,
                     std::string("must be of AlexNet or VGG16, is of another network, such as SqueezeNet; ") + kForms);
  return opened;
}

void check_finite(const std::string& file, const std::vector<Weight>& taken) {
  for (const Weight& weight : taken)
    if (!weight.tensor().isfinite().all().item<bool>())
      throw ModelError(file + ": " + weight.parts()[0].name,
                       "must be finite, has NaN or Inf: the file is damaged; download it again");
}

/// The model of one file, or of two.
std::unique_ptr<const lpips::Model> built(const Opened& features, const Opened& heads) {
  const bool one = &features == &heads;
  Weights of_features(features.checkpoint);
  std::optional<Weights> other;
  if (!one) other.emplace(heads.checkpoint);
  Weights& of_heads = one ? of_features : *other;
  auto model = std::make_unique<const lpips::Model>(of_features, features.contents, of_heads, heads.contents);
  of_features.finish();
  of_heads.finish();
  check_finite(features.checkpoint.label(), of_features.taken());
  if (!one) check_finite(heads.checkpoint.label(), of_heads.taken());
  return model;
}

}  // namespace

std::unique_ptr<const lpips::Model> load_lpips(const std::vector<std::string>& files) {
  if (files.empty() || files.size() > 2)
    throw InvalidRequest("lpips", "must be one file or two, got " + std::to_string(files.size()) + "; " + kForms);
  const Opened first = open(files[0]);
  if (files.size() == 1) {
    if (first.has_features() && first.has_heads()) return built(first, first);
    throw ModelError(files[0],
                     std::string("must have backbone and linear layers, has only the ") +
                         (first.has_heads() ? "linear layers; name the backbone's file, too: --lpips FILE --lpips FILE"
                                            : "backbone; name the file of the linear layers, too: --lpips FILE "
                                              "--lpips FILE, such as weights/v0.1/alex.pth of the package lpips"));
  }
  const Opened second = open(files[1]);
  for (const Opened* whole : {&first, &second})
    if (whole->has_features() && whole->has_heads())
      throw ModelError(whole->checkpoint.label(),
                       "has backbone and linear layers, so that it stands alone; name no second file");
  if (first.has_features() == second.has_features())
    throw ModelError(files[1], std::string("must be the ") + (first.has_features() ? "linear layers" : "backbone") +
                                   ", is another " + (first.has_features() ? "backbone" : "file of linear layers") +
                                   "; " + kForms);
  if (first.contents.backbone != second.contents.backbone)
    throw ModelError(files[1], std::string("must be of the network of the first file, ") +
                                   lpips::name(first.contents.backbone) + ", is of " +
                                   lpips::name(second.contents.backbone) + "; take two of one network");
  return first.has_features() ? built(first, second) : built(second, first);
}

}  // namespace wan
