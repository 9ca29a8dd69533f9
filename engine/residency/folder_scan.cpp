#include "engine/residency/folder_scan.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/listing.h"
#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::array kComfyFolders = {"diffusion_models", "unet", "text_encoders", "clip", "vae", "audio_encoders"};

bool is_checkpoint_name(const fs::path& file) {
  const std::string extension = file.extension().string();
  const auto has_it = [&](const Format* format) { return format->has_extension(extension); };
  return std::any_of(formats().begin(), formats().end(), has_it);
}

/// Whether a file belongs to the network of its folder: a shard, an index, or a name that diffusers gives. The torch
/// file that older versions of it wrote is opened by its own name.
bool is_of_folder(const fs::path& file) {
  constexpr const char* kName = "diffusion_pytorch_model";
  const bool torch_file = file.stem() == kName && file.extension() != ".safetensors" && is_checkpoint_name(file);
  return is_shard(file) || (file.filename().string().starts_with(kName) && !torch_file);
}

/// Whether a file has one of the names that Hugging Face gives the only file of a folder's network. Of several, which
/// are the same weights in other formats, the first of checkpoint_layout() is read.
bool is_usual_name(const fs::path& file) {
  return file.filename() == "model.safetensors" || file.filename() == "pytorch_model.bin";
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
    if (!error)
      (void)fs::status(folder / ".", error);  // which also tells where names can be listed, and nothing be opened
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
    add_all(folder, files, depth);
    for (const fs::path& inner : folders) {
      if (depth < kDeepest)
        enter(inner, depth + 1);
      else
        pass_over(inner);
    }
  }

  /// What the files of a folder are: one network, or each one of its own. At the top they need not be of one network,
  /// and a config.json may be of anything.
  void add_all(const fs::path& folder, const std::vector<fs::path>& files, int depth) {
    const bool sharded = std::any_of(files.begin(), files.end(), is_of_folder);
    const bool usual = !sharded && depth > 0 && std::any_of(files.begin(), files.end(), is_usual_name);
    const bool only = !sharded && depth > 0 && files.size() <= 1 && holds_checkpoint(folder);
    if (sharded || usual || only) add(folder);
    bool taken = false;
    for (const fs::path& file : files) {
      if (only || (sharded && is_of_folder(file))) continue;
      if (!usual || !is_usual_name(file))
        add(file);
      else if (std::exchange(taken, true))
        scan_.twins.push_back(name_of(file));
    }
  }

  /// A folder that lies too deep: told where it may hold checkpoints.
  void pass_over(const fs::path& folder) {
    std::error_code ignored;
    const std::vector<fs::path> entries = list(folder);
    const auto may_hold = [&](const fs::path& entry) {
      return is_checkpoint_name(entry) || fs::is_directory(entry, ignored);
    };
    if (std::any_of(entries.begin(), entries.end(), may_hold) && is_new(folder))
      scan_.too_deep.push_back(name_of(folder));
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

fs::path one_network_in(const fs::path& place) {
  std::error_code error, ignored;
  if (!fs::is_directory(place, ignored) || holds_checkpoint(place)) return place;
  fs::path file;
  bool folders = false;
  size_t entries = 0;
  for (fs::directory_iterator entry(place, error), end; !error && entry != end; entry.increment(error)) {
    if (++entries > kMostEntries) break;
    if (is_hidden(entry->path())) continue;
    if (entry->is_directory(ignored)) {
      folders = true;
    } else if (is_checkpoint_name(entry->path())) {
      if (!file.empty()) return {};
      file = entry->path();
    }
  }
  if (file.empty()) return folders ? fs::path() : place;
  const fs::path kind = file.extension();
  return kind == ".safetensors" || kind == ".gguf" ? place : file;  // of these Checkpoint takes the folder
}

std::vector<std::string> remarks_of(const FolderScan& scan) {
  std::vector<std::string> remarks;
  if (scan.cut)
    remarks.push_back("the folder holds more than is looked at, " + std::to_string(kMostCheckpoints) +
                      " checkpoints among " + std::to_string(kMostEntries) +
                      " entries; a smaller folder is seen whole");
  const auto shown = [](std::vector<std::string> names) {
    for (std::string& name : names) name = shown_text(name, 100);
    return listed(std::move(names));
  };
  if (!scan.too_deep.empty())
    remarks.push_back("not looked into " + shown(scan.too_deep) + ": more than " + std::to_string(kDeepest) +
                      " folders deep; name a folder nearer to the files");
  if (!scan.twins.empty())
    remarks.push_back(shown(scan.twins) + " left out: model.safetensors beside it is taken as the same weights");
  if (!scan.unlisted.empty()) remarks.push_back("not looked into " + listed(scan.unlisted));
  return remarks;
}

}  // namespace wan
