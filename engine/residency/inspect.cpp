#include "engine/residency/inspect.h"

#include <algorithm>
#include <optional>
#include <set>

#include "engine/residency/folder_scan.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_kinds.h"
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

/// Sizes that no config.json states, read off the tensors.
nlohmann::ordered_json sizes_of(const StoredTensors& stored, Model model, const std::string& label) {
  const Tensors tensors = official_names(stored, model, label);
  if (model == Model::TextEncoder)
    return {{"vocab", axis(tensors, "token_embedding.weight", 0)},
            {"dim", axis(tensors, "token_embedding.weight", 1)},
            {"dim_ffn", axis(tensors, "blocks.0.ffn.fc1.weight", 0)},
            {"num_layers", count_blocks(tensors)}};
  if (model == Model::Vae)
    return {{"dim", axis(tensors, "encoder.conv1.weight", 0)}, {"z_dim", axis(tensors, "conv2.weight", 0)}};
  return nlohmann::ordered_json::object();
}

/// The part that a network can be; an expert must say by its name which one it is.
std::string part_of(Model model, const std::string& name) {
  for (Task task : {Task::T2V, Task::I2V, Task::S2V}) {
    for (Network network : networks_of(task)) {
      if (kind_of(network, task).model != model) continue;
      if (network != Network::HighNoise) return field_of(network);
      const auto level = noise_level(name);
      return !level ? "" : field_of(*level == NoiseLevel::High ? Network::HighNoise : Network::LowNoise);
    }
  }
  return "";
}

/// The layout in which something of this name lies at its place.
std::string layout_of(const std::string& name, const std::string& found_by, bool diffusers) {
  const auto has = [&](std::span<const UsualPlace> places) {
    return std::any_of(places.begin(), places.end(), [&](const UsualPlace& place) { return name == place.path; });
  };
  if (has(official_places())) return kOfficialLayout;
  if (diffusers && has(diffusers_places())) return kDiffusersLayout;
  return found_by.starts_with("ComfyUI") ? found_by : "";
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

InspectedNetwork inspect_network(const ModelPart& part) {
  const Checkpoint checkpoint = Checkpoint::open(part.path);
  InspectedNetwork network;
  network.name = part.name;
  network.tensors = checkpoint.tensors();
  network.bytes = checkpoint.bytes();
  for (const auto& file : checkpoint.files()) network.files.push_back(file->path().filename().string());
  for (const auto& entry : network.tensors) {
    network.parameters += entry.second.elements();
    const StoredTensor& tensor = entry.second;
    ++network.dtypes[std::string(tensor.coding ? tensor.coding->name : dtype_name(tensor.dtype))];
  }
  const Recognised found = recognise(network.tensors);
  network.kind = found.name;
  if (found.model) {
    network.config = sizes_of(network.tensors, *found.model, checkpoint.label());
    const fs::path whole = fs::absolute(part.path / "").parent_path();
    network.part = part_of(*found.model, part.name == "." ? whole.filename().string() : part.name);
  }
  std::error_code error;
  if (fs::is_directory(part.path, error)) {
    const nlohmann::ordered_json config = read_config(part.path / "config.json");
    if (!config.empty()) network.config = config;
  }
  return network;
}

/// What the networks are good for together.
std::string model_kind(const Inspection& inspection) {
  std::set<std::pair<std::string, std::string>> parts;
  std::string text;
  for (const InspectedNetwork& network : inspection.networks) parts.emplace(network.kind, network.part);
  for (const char* task : {"text-to-video", "image-to-video"}) {
    const std::string kind = std::string(task) + " transformer";
    if (parts.contains({kind, field_of(Network::HighNoise)}) && parts.contains({kind, field_of(Network::LowNoise)}))
      text += (text.empty() ? "" : ", ") + std::string(task) + " model";
  }
  const std::string speech = "speech-to-video";
  if (inspection.networks.size() > 1 && parts.contains({speech + " transformer", field_of(Network::Speech)}))
    text += (text.empty() ? "" : ", ") + speech + " model";
  if (!text.empty()) return text;
  return inspection.networks.size() == 1 ? inspection.networks[0].kind : "part of a model";
}

/// The tokenizers that a model's folder has at their places.
std::vector<InspectedFile> tokenizer_files(const fs::path& root) {
  std::vector<InspectedFile> files;
  std::error_code ignored;
  for (const char* folder : {kOfficialTokenizer, kDiffusersTokenizer}) {
    std::error_code error;
    for (fs::directory_iterator entry(root / folder, error), end; !error && entry != end; entry.increment(error))
      if (!is_hidden(entry->path()) && entry->is_regular_file(ignored))
        files.push_back({entry->path().lexically_relative(root).generic_string(), entry->file_size(ignored)});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

void inspect_folder(const fs::path& root, Inspection& inspection) {
  const FolderScan scan = scan_folder(root);
  std::error_code ignored;
  const bool diffusers = fs::exists(root / "model_index.json", ignored);
  std::optional<ModelError> first;
  for (const ModelPart& part : scan.checkpoints) {
    try {
      inspection.networks.push_back(inspect_network(part));
    } catch (const ModelError& error) {
      if (!first) first = error;
      inspection.networks.push_back({part.name, "unreadable", "", "", error.what(), {}, 0, 0, {}, {}, {}});
    }
    inspection.networks.back().rule = layout_of(part.name, part.rule, diffusers);
  }
  const auto unreadable = [](const InspectedNetwork& network) { return !network.why.empty(); };
  if (first && std::all_of(inspection.networks.begin(), inspection.networks.end(), unreadable))
    throw ModelError(*first);
  inspection.files = tokenizer_files(root);
  inspection.remarks = remarks_of(scan);
}

}  // namespace

Inspection inspect(const fs::path& path) {
  Inspection inspection;
  inspection.path = shown_name(path.string());
  const fs::path whole = path.has_filename() ? path : path.parent_path();  // a trailing separator would count as a name
  std::error_code error;
  if (fs::is_directory(whole, error))
    inspect_folder(whole, inspection);
  else
    inspection.networks.push_back(inspect_network({whole, ".", ""}));
  if (inspection.networks.empty() && inspection.files.empty())
    throw ModelError(path.string(), "must hold checkpoints, holds none; weights.md lists the files");
  inspection.kind = model_kind(inspection);
  return inspection;
}

}  // namespace wan
