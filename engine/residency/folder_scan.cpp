#include "engine/residency/folder_scan.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <system_error>

#include "models/files/error.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::array kComfyFolders = {"diffusion_models", "unet", "text_encoders", "clip", "vae", "audio_encoders"};
constexpr std::array kEndings = {".safetensors", ".gguf", ".pth", ".pt", ".bin"};

bool is_checkpoint_name(const fs::path& file) {
  return std::find(kEndings.begin(), kEndings.end(), file.extension()) != kEndings.end();
}

/// Whether a file belongs to the network of its folder: a shard, an index, or a name that diffusers gives.
bool is_of_folder(const fs::path& file) {
  return is_shard(file) || file.filename().string().starts_with("diffusion_pytorch_model");
}

/// The folder with ComfyUI's folders; nothing where there is none.
std::optional<fs::path> comfy_base(const fs::path& root) {
  std::error_code ignored;
  if (fs::exists(root / "model_index.json", ignored)) return std::nullopt;  // diffusers, which has a unet, too
  for (const fs::path& base : {root, root / "models", root / "split_files"})
    if (fs::is_directory(base / "diffusion_models", ignored) || fs::is_directory(base / "unet", ignored)) return base;
  return std::nullopt;
}

class Walk {
 public:
  explicit Walk(const fs::path& root) : root_(root) {}

  FolderScan run() {
    if (const auto base = comfy_base(root_)) {
      for (const char* folder : kComfyFolders) {
        std::error_code ignored;
        rule_ = std::string("ComfyUI folder ") + folder;
        if (fs::is_directory(*base / folder, ignored)) enter(*base / folder, 0);
      }
    } else {
      rule_ = "only candidate in the folder";
      enter(root_, 0);
    }
    const auto by_name = [](const ModelPart& a, const ModelPart& b) { return a.name < b.name; };
    std::sort(scan_.checkpoints.begin(), scan_.checkpoints.end(), by_name);
    return std::move(scan_);
  }

 private:
  std::string name_of(const fs::path& path) const {
    return path == root_ ? "." : path.lexically_relative(root_).generic_string();
  }

  /// Visible entries by name.
  std::vector<fs::path> list(const fs::path& folder) {
    std::vector<fs::path> entries;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (++entries_ > kMostEntries) {
        scan_.cut = true;
        break;
      }
      if (!is_hidden(entry->path())) entries.push_back(entry->path());
    }
    if (error && folder == root_)
      throw ModelError(folder.string(), "cannot be listed: " + error.message() +
                                            "; give yourself the right to read it "
                                            "(chmod u+rX), or name another folder");
    if (error) scan_.unlisted.push_back(shown_text(name_of(folder), 100) + ": " + error.message());
    std::sort(entries.begin(), entries.end());
    return entries;
  }

  /// A folder that links lead to again is entered once.
  bool is_new(const fs::path& folder) {
    std::error_code error;
    const fs::path real = fs::canonical(folder, error);
    return !error && seen_.insert(real.string()).second;
  }

  void enter(const fs::path& folder, int depth) {
    if (!is_new(folder)) return;
    scan_.looked_in.push_back(name_of(folder));
    std::vector<fs::path> files, folders;
    std::error_code ignored;
    for (const fs::path& entry : list(folder)) {
      if (fs::is_directory(entry, ignored))
        folders.push_back(entry);
      else if (is_checkpoint_name(entry) || is_of_folder(entry))
        files.push_back(entry);
    }
    // At the top the files of a folder need not be of one network, and a config.json may be of anything.
    const bool sharded = std::any_of(files.begin(), files.end(), is_of_folder);
    const bool whole = sharded || ((depth > 0 || files.size() == 1) && holds_checkpoint(folder));
    if (whole) add(folder);
    for (const fs::path& file : files)
      if (!whole || (sharded && !is_of_folder(file))) add(file);
    for (const fs::path& inner : folders)
      if (depth < kDeepest) enter(inner, depth + 1);
  }

  void add(const fs::path& path) {
    if (scan_.checkpoints.size() >= kMostCheckpoints) {
      scan_.cut = true;
      return;
    }
    scan_.checkpoints.push_back({path, name_of(path), rule_});
  }

  fs::path root_;
  std::string rule_;
  FolderScan scan_;
  size_t entries_ = 0;
  std::set<std::string> seen_;
};

}  // namespace

FolderScan scan_folder(const fs::path& root) {
  return Walk(root).run();
}

std::vector<std::string> remarks_of(const FolderScan& scan) {
  std::vector<std::string> remarks;
  if (scan.cut)
    remarks.push_back("the folder holds more than is looked at, " + std::to_string(kMostCheckpoints) +
                      " checkpoints among " + std::to_string(kMostEntries) +
                      " entries; a smaller folder is seen whole");
  for (const std::string& folder : scan.unlisted) remarks.push_back("not looked into " + folder);
  return remarks;
}

}  // namespace wan
