#include "engine/residency/inspect.h"

#include <algorithm>
#include <set>

#include "models/files/error.h"
#include "models/files/json.h"
#include "models/recognise.h"
#include "models/weights/checkpoint.h"
#include "models/weights/dtype.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

using Tensors = std::map<std::string, StoredTensor>;

/// How many blocks `blocks.<number>.` counts.
int64_t count_blocks(const Tensors& tensors) {
  std::set<std::string> numbers;
  for (auto it = tensors.lower_bound("blocks."); it != tensors.end() && it->first.starts_with("blocks."); ++it) {
    numbers.insert(it->first.substr(7, it->first.find('.', 7) - 7));
  }
  return static_cast<int64_t>(numbers.size());
}

/// The size of one axis; 0 where tensor or axis are absent.
int64_t axis(const Tensors& tensors, const std::string& name, size_t index) {
  const auto found = tensors.find(name);
  return found == tensors.end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
}

/// What it is, and sizes that no config.json states, read off the tensors.
void describe(InspectedNetwork& network) {
  const Tensors& tensors = network.tensors;
  const Recognised found = recognise(tensors);
  network.kind = found.name;
  if (found.model == Model::TextEncoder)
    network.config = {{"vocab", axis(tensors, "token_embedding.weight", 0)},
                      {"dim", axis(tensors, "token_embedding.weight", 1)},
                      {"dim_ffn", axis(tensors, "blocks.0.ffn.fc1.weight", 0)},
                      {"num_layers", count_blocks(tensors)}};
  if (found.model == Model::Vae)
    network.config = {{"dim", axis(tensors, "encoder.conv1.weight", 0)}, {"z_dim", axis(tensors, "conv2.weight", 0)}};
}

/// The numbers, words and short lists of a config.json; empty where there is none.
nlohmann::ordered_json read_config(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return nlohmann::ordered_json::object();
  const JsonLimits limits = {.bytes = 1'000'000, .depth = 16, .values = 10'000};
  const auto config = read_json<nlohmann::ordered_json>(*MappedFile::open(path), limits);
  if (!config.is_object()) throw ModelError(path.string(), "must be a JSON object, is not; download it again");
  nlohmann::ordered_json kept = nlohmann::ordered_json::object();
  for (const auto& [key, value] : config.items()) {
    const bool list = value.is_array() && value.size() <= 16 &&
                      std::all_of(value.begin(), value.end(), [](const auto& item) { return item.is_number(); });
    if (!key.starts_with("_") && (list || (value.is_primitive() && !value.is_null()))) kept[key] = value;
  }
  return kept;
}

InspectedNetwork inspect_network(const fs::path& root, const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  InspectedNetwork network;
  network.name = path == root ? "." : path.lexically_relative(root).generic_string();
  network.tensors = checkpoint.tensors();
  network.bytes = checkpoint.bytes();
  for (const auto& file : checkpoint.files()) network.files.push_back(file->path().filename().string());
  for (const auto& entry : network.tensors) {
    network.parameters += entry.second.elements();
    const StoredTensor& tensor = entry.second;
    ++network.dtypes[std::string(tensor.coding ? tensor.coding->name : dtype_name(tensor.dtype))];
  }
  describe(network);
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const nlohmann::ordered_json config = read_config(path / "config.json");
    if (!config.empty()) network.config = config;
  }
  return network;
}

/// Single-file networks of a folder, beside the shards that belong to its own index.
bool is_single_network(const fs::path& file) {
  const std::string name = file.filename().string(), extension = file.extension().string();
  if (extension == ".pth" || extension == ".gguf") return true;
  return extension == ".safetensors" && !name.starts_with("diffusion_pytorch_model") && !is_shard(file);
}

/// What the networks are good for together.
std::string model_kind(const Inspection& inspection) {
  std::set<std::string> kinds;
  std::set<std::string> names;
  for (const InspectedNetwork& network : inspection.networks) {
    kinds.insert(network.kind);
    names.insert(network.name);
  }
  const bool experts = names.contains("high_noise_model") && names.contains("low_noise_model");
  if (kinds.contains("speech-to-video transformer")) return "speech-to-video model";
  if (experts && kinds.contains("text-to-video transformer")) return "text-to-video model";
  if (experts && kinds.contains("image-to-video transformer")) return "image-to-video model";
  return inspection.networks.size() == 1 ? inspection.networks[0].kind : "part of a model";
}

/// Visible entries by name.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (!is_hidden(entry.path())) entries.push_back(entry.path());
  if (error) throw ModelError(folder.string(), "cannot be listed: " + error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// Whether a file belongs to the network of the folder itself.
bool is_counted(const Inspection& inspection, const fs::path& file) {
  if (inspection.networks.empty() || inspection.networks[0].name != ".") return false;
  const std::vector<std::string>& files = inspection.networks[0].files;
  return std::find(files.begin(), files.end(), file.filename()) != files.end();
}

}  // namespace

Inspection inspect(const fs::path& path) {
  Inspection inspection;
  inspection.path = shown_name(path.string());
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    inspection.networks.push_back(inspect_network(path, path));
    inspection.kind = model_kind(inspection);
    return inspection;
  }
  const fs::path root = (path / "").parent_path();  // without a trailing separator, which would count as a name
  if (holds_checkpoint(root)) inspection.networks.push_back(inspect_network(root, root));
  for (const fs::path& entry : entries_of(root)) {
    if (fs::is_directory(entry, error) ? holds_checkpoint(entry) : is_single_network(entry)) {
      if (!is_counted(inspection, entry)) inspection.networks.push_back(inspect_network(root, entry));
    }
  }
  const fs::path tokenizer = root / "google" / "umt5-xxl";
  if (fs::is_directory(tokenizer, error)) {
    for (const fs::path& entry : entries_of(tokenizer)) {
      if (fs::is_regular_file(entry, error)) {
        inspection.files.push_back({entry.lexically_relative(root).generic_string(), fs::file_size(entry)});
      }
    }
  }
  if (inspection.networks.empty() && inspection.files.empty()) {
    throw ModelError(path.string(),
                     "must hold checkpoints in the official layout, holds none; weights.md lists the files");
  }
  inspection.kind = model_kind(inspection);
  return inspection;
}

}  // namespace wan
