// What is told of a safety checker without its network: `wan-infer inspect` links no libtorch.
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/residency/part_paths.h"
#include "engine/residency/safety_files.h"
#include "engine/residency/safety_network.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool has(const fs::path& file) {
  if (const std::string why = closed_to_us(file); !why.empty())
    throw ModelError(file.string(), "must be a file of a safety checker, cannot be looked at: " + why);
  return is_there(file);
}

}  // namespace

SafetyFiles find_safety_checker(const fs::path& place) {
  const fs::path root = without_slash(place);
  if (const std::string why = closed_to_us(root); !why.empty())
    throw ModelError(root.string(), "must be the folder of a safety checker, cannot be looked at: " + why);
  if (!is_there(root))
    throw ModelError(root.string(),
                     std::string("must be the folder of a safety checker, is not there") + kSafetyPublished);
  if (!is_folder(root))
    throw ModelError(
        root.string(),
        "must be the folder of a safety checker, is a file; name the folder, which holds config.json, too");
  const bool whole = !has(root / "config.json") && has(root / "safety_checker" / "config.json");
  const fs::path folder = whole ? root / "safety_checker" : root;
  if (!has(folder / "config.json"))
    throw ModelError(folder.string(), std::string("must hold config.json, which tells which safety checker it is, "
                                                  "holds none") +
                                          kSafetyPublished);
  fs::path preprocessor = folder / "preprocessor_config.json";
  const fs::path beside = fs::absolute(folder).parent_path() / "feature_extractor" / "preprocessor_config.json";
  if (!has(preprocessor) && has(beside)) preprocessor = beside;
  if (has(preprocessor)) return {folder, folder / "config.json", preprocessor};
  safety::read_config(folder / "config.json");  // throws what is wrong with it
  throw ModelError(folder.string(),
                   "must hold preprocessor_config.json, which tells how pictures are resized, holds "
                   "none; of Stable Diffusion it lies in the folder feature_extractor beside");
}

std::string safety_description(const safety::Config& config) {
  const safety::VisionConfig& c = safety::vision_of(config);
  std::string text;
  if (const auto* classifier = std::get_if<safety::ClassifierConfig>(&config)) {
    std::vector<std::string> labels;
    for (const std::string& label : classifier->labels) labels.push_back(printable(label));
    text = "labels " + listed(labels) + ", ";
  } else {
    text = "concepts in " + std::to_string(std::get<safety::ConceptsConfig>(config).projection_dim) + " dimensions, ";
  }
  return text + std::to_string(c.num_hidden_layers) + " layers of " + std::to_string(c.hidden_size) + ", pictures of " +
         std::to_string(c.image_size) + " pixels in patches of " + std::to_string(c.patch_size);
}

}  // namespace wan
