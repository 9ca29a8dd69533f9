#include "engine/residency/same_name.h"

#include <algorithm>

#include "engine/base/listing.h"
#include "engine/residency/part_paths.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// "the current folder and models, in diffusion_models, unet and 3 more".
std::string places(const fs::path& root, const FolderScan& scan, bool bare) {
  if (root.empty() || !bare) return "";
  std::vector<std::string> folders;
  for (const std::string& folder : scan.looked_in)
    if (folder != ".") folders.push_back(shown_text(folder, 80));
  return "; looked in the current folder and in " + shown_name(root.string(), true) +
         (folders.empty() ? "" : " with " + listed(std::move(folders)));
}

}  // namespace

std::vector<fs::path> lying_as(const fs::path& name, const fs::path& root, const FolderScan& scan) {
  std::vector<fs::path> found;
  const auto look = [&](const fs::path& path) {
    const auto known = [&](const fs::path& other) { return is_same(other, path); };
    if (is_there(path) && std::none_of(found.begin(), found.end(), known)) found.push_back(path);
  };
  look(root / name);
  for (const std::string& folder : scan.looked_in) look(folder == "." ? root / name : root / folder / name);
  return found;
}

std::string not_there(const std::string& flag, const std::vector<fs::path>& there, const fs::path& root,
                      const FolderScan& scan, bool bare) {
  if (there.size() == 1)
    return ", is not there; " + flag + " " + shown_text(there[0].filename().string(), 120) +
           ", without its folder, takes the one in the model's folder";
  if (there.empty())
    return ", is not there" + places(root, scan, bare) + "; " + flag + " names it" +
           (bare && !root.empty() ? " with its folder" : "");
  std::vector<std::string> names;
  for (const fs::path& path : there) names.push_back(shown_text(name_in(root, path), 120));
  return ", is not there, and the model's folder has " + listed(std::move(names)) + "; " + flag +
         " with the whole path names one of them";
}

}  // namespace wan
