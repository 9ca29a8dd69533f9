#include "engine/residency/parts.h"

#include <algorithm>

#include "engine/residency/safety_files.h"
#include "models/weights/checkpoint.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The files of one network, or of the tokenizer, that are there.
void add_files(const ModelPart& part, const std::string& field, const std::vector<fs::path>& paths,
               std::vector<PartFile>& files) {
  std::error_code ignored;
  for (const fs::path& path : paths) {
    if (!fs::exists(path, ignored)) continue;
    const std::string file = path.filename().string();
    const bool folder = path != part.path;
    files.push_back({path, !folder ? part.name : part.name == "." ? file : part.name + "/" + file, field, part.rule});
  }
}

/// LoRAs, interpolators and safety checkers, which other jobs of the same model do without.
bool comes_and_goes(const PartFile& file) {
  return file.part == kLoraPart || file.part == kInterpolatorPart || file.part == kSafetyPart;
}

/// Parts that were named one by one may lie in several folders under equal names. What the other parts are called does
/// not depend on those that come and go with jobs.
void tell_apart(std::vector<PartFile>& files) {
  std::map<std::string, int> count;
  for (const PartFile& file : files)
    if (!comes_and_goes(file)) ++count[file.name];
  for (PartFile& file : files)
    if (count[file.name] > (comes_and_goes(file) ? 0 : 1)) file.name = file.part + "/" + file.name;
}

}  // namespace

const char* name(Network network) {
  constexpr const char* kNames[] = {"text encoder",     "audio encoder",      "high-noise expert",
                                    "low-noise expert", "speech transformer", "VAE"};
  return kNames[size_t(network)];
}

const char* field_of(Network network) {
  constexpr const char* kFields[] = {"text_encoder", "audio_encoder", "high_noise", "low_noise", "transformer", "vae"};
  return kFields[size_t(network)];
}

std::vector<Network> networks_of(Task task) {
  if (task == Task::S2V) return {Network::TextEncoder, Network::AudioEncoder, Network::Speech, Network::Vae};
  return {Network::TextEncoder, Network::HighNoise, Network::LowNoise, Network::Vae};
}

// Paths are compared as they are written: download caches are symbolic links whose targets have other names.
std::vector<PartFile> ModelParts::files() const {
  std::vector<PartFile> found = files_of("tokenizer");
  for (const char* part : {kLoraPart, kInterpolatorPart, kSafetyPart})
    for (PartFile& file : files_of(part)) found.push_back(std::move(file));
  for (const auto& [network, part] : networks)
    for (PartFile& file : files_of(field_of(network))) found.push_back(std::move(file));
  tell_apart(found);
  std::sort(found.begin(), found.end(), [](const PartFile& a, const PartFile& b) { return a.name < b.name; });
  return found;
}

std::vector<PartFile> ModelParts::files_of(const std::string& field) const {
  std::vector<PartFile> found;
  std::error_code ignored;
  for (const auto& [network, part] : networks) {
    if (field != field_of(network)) continue;
    std::vector<fs::path> paths = Checkpoint::paths(part.path);
    if (fs::is_directory(part.path, ignored)) paths.push_back(part.path / "config.json");
    add_files(part, field, paths, found);
  }
  if (field == kLoraPart)
    for (const ModelPart& lora : loras) add_files(lora, field, {lora.path}, found);
  if (field == kInterpolatorPart && interpolator.is_there())
    add_files(interpolator.file, field, {interpolator.file.path}, found);
  if (field == kSafetyPart && !safety_checker.path.empty()) {
    const SafetyFiles files = find_safety_checker(safety_checker.path);
    std::vector<fs::path> paths = Checkpoint::paths(files.folder);
    paths.insert(paths.end(), {files.config, files.preprocessor});
    add_files(safety_checker, field, paths, found);
  }
  if (field != "tokenizer") return found;
  if (tokenizer.path.empty()) return found;
  if (fs::is_directory(tokenizer.path, ignored))
    add_files(tokenizer, field, {tokenizer.path / "tokenizer.json", tokenizer.path / "spiece.model"}, found);
  else if (tokenizer.path != path_of(Network::TextEncoder))
    add_files(tokenizer, field, {tokenizer.path}, found);
  return found;
}

}  // namespace wan
