#include "engine/residency/interpolator_file.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/part_paths.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr PublishedInterpolator kPublished[] = {
    {"film", "film_net_fp32.pt"},
    {"film", "film_net_fp16.pt"},
    {"film", "film_net_fp32.safetensors"},
    {"film", "film_net_fp16.safetensors"},
    {"film", "film_net.safetensors"},
    {"rife", "flownet.pkl"},
    {"rife", "rife426.pth"},
    {"rife", "rife425.pth"},
    {"rife", "rife417.pth"},
    {"rife", "rife49.pth"},
    {"rife", "rife47.pth"},
    {"rife", "rife46.pth"},
    {"rife", "flownet.safetensors"},
};

constexpr const char* kFolders[] = {"", "interpolator", "train_log"};

/// What to download.
std::string publication(const std::string& model) {
  if (model == "film")
    return "film_net_fp32.pt (138 MB, or film_net_fp16.pt of 69 MB) is published in release v1.0.0 of "
           "github.com/dajes/frame-interpolation-pytorch";
  return "flownet.pkl of version 4.25 or 4.26 (23 MB) is published with github.com/hzwer/Practical-RIFE";
}

const char* shown_model(const std::string& model) {
  return model == "film" ? "FILM" : "RIFE";
}

/// A file of the names above in one of the folder's folders, whatever that is called; of several the first by name.
fs::path one_level_down(const std::string& model, const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed))
    for (const PublishedInterpolator& file : kPublished)
      if (const fs::path path = entry->path() / file.name; model == file.model && is_there(path)) found.push_back(path);
  return found.empty() ? fs::path() : *std::min_element(found.begin(), found.end());
}

ModelError missing(const InterpolatorSearch& search, const fs::path& folder) {
  std::vector<std::string> names;
  for (const PublishedInterpolator& file : kPublished)
    if (search.model == file.model) names.emplace_back(file.name);
  const std::string where = folder.empty() ? "no file is named" : "none of " + either(names, " and ") + " is there";
  const fs::path near = folder.empty() ? fs::path() : one_level_down(search.model, folder);
  const std::string way =
      near.empty() ? publication(search.model) + ": --interpolator FILE names it"
                   : shown_name(name_in(folder, near)) + " has one of these names: --interpolator FILE names it";
  return {folder.empty() ? find_parameter(kInterpolatorPart)->flag() : folder.string(),
          std::string("must hold the weights of ") + shown_model(search.model) + ", " + where + "; " + way +
              (search.is_all ? "" : ", --interpolator-model none does without")};
}

}  // namespace

std::span<const PublishedInterpolator> published_interpolators() {
  return kPublished;
}

InterpolatorPart find_interpolator(const InterpolatorSearch& search) {
  const fs::path place = without_slash(search.named.empty() ? search.root : search.named);
  const std::string rule = search.named.empty() ? "found in the model's folder" : search.rule;
  if (const std::string why = closed_to_us(place); !place.empty() && !why.empty())
    throw ModelError(place.string(), "must be the interpolator's weights, cannot be looked at: " + why);
  if (!search.named.empty() && !is_there(place))
    throw ModelError(place.string(), std::string("must be the weights of ") + shown_model(search.model) +
                                         ", is not there; " + publication(search.model));
  if (!is_folder(place)) {
    if (search.named.empty()) throw missing(search, "");
    std::error_code ignored;
    if (!fs::is_regular_file(place, ignored))
      throw ModelError(place.string(), "must be a file or a folder with one, is neither; --interpolator names another");
    return {search.model, {place, name_in(search.root, place), rule}};
  }
  for (const char* folder : kFolders)
    for (const PublishedInterpolator& file : kPublished) {
      const fs::path path = *folder ? place / folder / file.name : place / file.name;
      if (const std::string why = closed_to_us(path); !why.empty())
        throw ModelError(path.string(), "must be the interpolator's weights, cannot be looked at: " + why);
      if (search.model == file.model && is_there(path)) return {search.model, {path, name_in(search.root, path), rule}};
    }
  throw missing(search, place);
}

const char* interpolator_kind(const std::string& model) {
  return model == "film" ? "FILM frame interpolation" : "RIFE frame interpolation";
}

}  // namespace wan
