#include "engine/residency/model_folder.h"

#include <algorithm>

#include "engine/request/params.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/wan/config.h"
#include "models/weights/checkpoint.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Both experts take what the task gives them: the noise alone, or mask and image latent too.
void check_kind(const ModelFolder& folder, Task task) {
  const bool image = task == Task::I2V;
  const int64_t wanted = (image ? kWanI2vA14b : kWanT2vA14b).in_dim;
  for (const fs::path& expert : {folder.high_noise, folder.low_noise}) {
    const int64_t in_dim = WanConfig::read(expert / "config.json").in_dim;
    if (in_dim != wanted)
      throw ModelError((expert / "config.json").string(),
                       std::string("must be of ") + (image ? "an image" : "a text") + "-to-video model for " +
                           task_name(task) + ", with in_dim " + std::to_string(wanted) + ", got " +
                           std::to_string(in_dim) + "; --model names the other folder");
  }
}

}  // namespace

// Paths are compared as they are written: download caches are symbolic links whose targets have other names.

ModelFolder open_model_folder(const fs::path& root, Task task) {
  std::error_code error;
  if (!fs::is_directory(root, error))
    throw ModelError(root.string(), "is no folder; --model names the folder of a Wan 2.2 checkpoint, see weights.md");
  ModelFolder folder{.root = root,
                     .high_noise = task == Task::S2V ? root : root / "high_noise_model",
                     .low_noise = task == Task::S2V ? root : root / "low_noise_model",
                     .text_encoder = root / "models_t5_umt5-xxl-enc-bf16.pth",
                     .vae = root / "Wan2.1_VAE.pth",
                     .tokenizer = root / "google" / "umt5-xxl",
                     .audio_encoder = task == Task::S2V ? root / "wav2vec2-large-xlsr-53-english" : fs::path()};
  std::string missing, unfinished;
  auto want = [&](const fs::path& path) {
    if (fs::exists(fs::symlink_status(path, error))) return;  // a link to nothing is told where it is opened
    missing += (missing.empty() ? "" : ", ") + path.lexically_relative(root).string();
    if (unfinished.empty()) unfinished = unfinished_download(path);
  };
  want(folder.high_noise / "config.json");
  if (folder.low_noise != folder.high_noise) want(folder.low_noise / "config.json");
  want(folder.text_encoder);
  want(folder.vae);
  if (!fs::exists(folder.tokenizer / "tokenizer.json", error)) want(folder.tokenizer / "spiece.model");
  if (task == Task::S2V) want(folder.audio_encoder / "config.json");
  if (!unfinished.empty()) missing += "; a download is unfinished: " + unfinished;
  if (!missing.empty()) throw ModelError(root.string(), "lacks " + missing + "; weights.md lists what each task needs");
  if (task != Task::S2V) check_kind(folder, task);
  return folder;
}

std::vector<fs::path> ModelFolder::files() const {
  std::vector<fs::path> found;
  auto add = [&](const fs::path& file) {
    std::error_code ignored;
    if (fs::exists(file, ignored)) found.push_back(file.lexically_relative(root));
  };
  auto add_folder = [&](const fs::path& folder) {
    add(folder / "config.json");
    for (const fs::path& file : Checkpoint::paths(folder)) add(file);
  };
  add_folder(high_noise);
  if (low_noise != high_noise) add_folder(low_noise);
  add(text_encoder);
  add(vae);
  for (const char* name : {"tokenizer.json", "spiece.model"}) add(tokenizer / name);
  if (!audio_encoder.empty()) add_folder(audio_encoder);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace wan
