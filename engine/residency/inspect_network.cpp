#include "engine/residency/inspect_network.h"

#include <algorithm>

#include "engine/residency/inspect_parts.h"
#include "engine/residency/inspect_safety.h"
#include "engine/residency/interpolator_file.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_kinds.h"
#include "models/files/error.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"
#include "models/film/config.h"
#include "models/recognise.h"
#include "models/rife/version.h"
#include "models/text/tokenizer/source.h"
#include "models/weights/checkpoint.h"
#include "models/weights/dtype.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The part that a network can be; an expert must say by its name which one it is.
std::string part_of(Model model, const ModelPart& part) {
  for (Task task : {Task::T2V, Task::I2V, Task::S2V}) {
    for (Network network : networks_of(task)) {
      if (kind_of(network, task).model != model) continue;
      if (network != Network::HighNoise) return field_of(network);
      const auto level = noise_level(part);
      return !level ? "" : field_of(*level == NoiseLevel::High ? Network::HighNoise : Network::LowNoise);
    }
  }
  return "";
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

/// What draws frames, by the file's headers. Whether every tensor is there shows when it is opened.
std::string use_of(const Checkpoint& checkpoint, const std::string& kind) {
  const bool film = kind == interpolator_kind("film");
  if (!film && kind != interpolator_kind("rife")) return "";
  try {
    if (film) film::Config::of(checkpoint.tensors(), checkpoint.label());
    return std::string("draws frames by --interpolator-model ") +
           (film ? std::string("film") : "rife, version " + rife::releases(rife::version_of(checkpoint)));
  } catch (const ModelError& error) {
    return "draws no frames: " + error.text;
  }
}

InspectedNetwork look_into(const ModelPart& part, const Checkpoint& checkpoint, const Recognised& found) {
  InspectedNetwork network;
  network.name = part.name;
  network.tensors = checkpoint.tensors();
  network.bytes = checkpoint.bytes();
  network.left_out = checkpoint.left_out();
  for (const auto& file : checkpoint.files()) network.files.push_back(file->path().filename().string());
  for (const auto& entry : network.tensors) {
    network.parameters += entry.second.elements();
    const StoredTensor& tensor = entry.second;
    ++network.dtypes[std::string(type_name(tensor))];
  }
  network.kind = checkpoint.tensors().empty() ? "no network" : found.name;
  network.model = found.model;
  network.use = use_of(checkpoint, network.kind);
  if (found.other == Other::Lora && !fs::is_directory(part.path)) network.lora = inspect_lora(part);
  if (found.model) {
    const auto source = found.model == Model::TextEncoder ? text::tokenizer_source(checkpoint) : std::nullopt;
    if (source) network.tokenizer = source->from;
    network.part = part_of(*found.model, part);
  }
  std::error_code error;
  const bool is_folder = fs::is_directory(part.path, error);
  if (is_folder) network.config = read_config(part.path / "config.json");
  if (is_safety_checker(found))
    network.notes = safety_notes(is_folder ? part.path : fs::absolute(part.path).parent_path(), found);
  if (network.config.empty() && found.model) network.config = sizes_of(checkpoint, *found.model);
  return network;
}

}  // namespace

std::string_view type_name(const StoredTensor& tensor) {
  return tensor.coding ? tensor.coding->name : dtype_name(tensor.dtype);
}

uint64_t stored_bytes(const StoredTensor& tensor) {
  return tensor.bytes() + (tensor.scales && tensor.scales->blocks ? tensor.scales->blocks->bytes() : 0);
}

InspectedNetwork inspect_network(const ModelPart& part) {
  const Checkpoint checkpoint = Checkpoint::open(part.path);
  return look_into(part, checkpoint, recognise(checkpoint.tensors()));
}

InspectedNetwork inspect_or_tell(const ModelPart& part, RecognisedFiles& files) {
  RecognisedFile file;
  try {
    const Checkpoint checkpoint = Checkpoint::open(part.path);
    file.network = recognise(checkpoint.tensors());
    file.left_out = checkpoint.left_out();
    files.know(part.path, file);
    return look_into(part, checkpoint, file.network);
  } catch (const ModelError& error) {
    InspectedNetwork network;
    network.name = part.name;
    network.kind = "unreadable";
    network.why = error;
    file.broken = error;
    files.know(part.path, std::move(file));
    return network;
  }
}

}  // namespace wan
