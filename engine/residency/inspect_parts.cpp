#include "engine/residency/inspect_parts.h"

#include <algorithm>
#include <map>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/tokenizer_places.h"
#include "models/files/error.h"
#include "models/names/shapes.h"
#include "models/wan/config.h"
#include "models/wan_s2v/config.h"
#include "models/wav2vec2/config.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

using nlohmann::ordered_json;

ordered_json words_of(const WanConfig& config) {
  return {{"dim", config.dim},           {"ffn_dim", config.ffn_dim},      {"freq_dim", config.freq_dim},
          {"in_dim", config.in_dim},     {"out_dim", config.out_dim},      {"num_heads", config.num_heads},
          {"text_len", config.text_len}, {"num_layers", config.num_layers}};
}

ordered_json sizes(const StoredTensors& tensors, Model model, const std::string& label) {
  using names::axis;
  switch (model) {
    case Model::TextExpert:
    case Model::ImageExpert:
      return words_of(WanConfig::of(tensors, label));
    case Model::Speech: {
      const SpeechConfig config = SpeechConfig::of(tensors, label);
      ordered_json words = words_of(config.wan);
      words.update({{"audio_dim", config.audio_dim}, {"num_audio_token", config.num_audio_token}});
      return words;
    }
    case Model::TextEncoder:
      return {{"vocab", axis(tensors, "token_embedding.weight", 0)},
              {"dim", axis(tensors, "token_embedding.weight", 1)},
              {"dim_ffn", axis(tensors, "blocks.0.ffn.fc1.weight", 0)},
              {"num_layers", names::count(tensors, "blocks")}};
    case Model::Vae:
      return {{"dim", axis(tensors, "encoder.conv1.weight", 0)}, {"z_dim", axis(tensors, "conv2.weight", 0)}};
    case Model::AudioEncoder: {
      const Wav2Vec2Config config = Wav2Vec2Config::of(tensors, label);
      return {{"hidden_size", config.hidden_size},
              {"num_hidden_layers", config.num_hidden_layers},
              {"num_attention_heads", config.num_attention_heads},
              {"intermediate_size", config.intermediate_size}};
    }
  }
  return ordered_json::object();
}

/// Whether a rule is that of a layout, in which a part has one place.
bool is_placed(const InspectedNetwork& network) {
  return network.rule == kOfficialLayout || network.rule == kDiffusersLayout;
}

std::string some(std::vector<std::string> names) {
  for (std::string& name : names) name = shown_text(name, 120);
  return listed(std::move(names));
}

/// A file under two names once, by the first of them.
std::vector<size_t> without_repeated(const std::vector<size_t>& all, const std::vector<fs::path>& paths) {
  std::vector<size_t> found;
  std::error_code ignored;
  for (size_t i : all) {
    const auto known = [&](size_t other) { return fs::equivalent(paths[other], paths[i], ignored); };
    if (std::none_of(found.begin(), found.end(), known)) found.push_back(i);
  }
  return found;
}

/// The experts whose names do not say which one they are.
void tell_without_level(Inspection& inspection) {
  std::vector<std::string> names;
  for (const InspectedNetwork& network : inspection.networks)
    if (network.part.empty() && (network.model == Model::TextExpert || network.model == Model::ImageExpert))
      names.push_back(network.name == "." ? inspection.path : network.name);
  if (names.empty()) return;
  inspection.remarks.push_back(some(names) +
                               ": the name says neither high nor low noise; --high-noise FILE or --low-noise FILE "
                               "says which expert it is");
}

}  // namespace

ordered_json sizes_of(const Checkpoint& checkpoint, Model model) {
  try {
    return sizes(official_names(checkpoint.tensors(), model, checkpoint.label()), model, checkpoint.label());
  } catch (const ModelError&) {
    return ordered_json::object();  // of a network that is not whole
  }
}

std::vector<InspectedFile> tokenizer_files(const fs::path& root, const std::vector<fs::path>& encoders) {
  std::vector<InspectedFile> files;
  std::error_code ignored;
  const auto add = [&](const fs::path& path, const std::string& rule) {
    const std::string name = fs::absolute(path).lexically_relative(fs::absolute(root)).generic_string();
    const auto is_it = [&](const InspectedFile& file) { return file.name == name; };
    if (std::any_of(files.begin(), files.end(), is_it)) return;
    const bool second = path.filename() == "spiece.model" && fs::exists(path.parent_path() / "tokenizer.json", ignored);
    files.push_back({name, fs::file_size(path, ignored), second ? "not used: tokenizer.json is taken" : rule});
  };
  for (const auto& [folder, rule] : tokenizer_places(root, encoders)) {
    const bool of_layout = rule == kOfficialLayout || rule == kDiffusersLayout;  // where all files are the tokenizer's
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      const fs::path name = entry->path().filename();
      const bool counts = of_layout ? !is_hidden(name) : name == "tokenizer.json" || name == "spiece.model";
      if (counts && entry->is_regular_file(ignored)) add(entry->path(), rule);
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

Several tell_several(const std::vector<fs::path>& paths, Inspection& inspection) {
  std::map<std::pair<Model, std::string>, std::vector<size_t>> candidates;
  for (size_t i = 0; i < paths.size(); ++i)
    if (const InspectedNetwork& network = inspection.networks[i]; network.model && !network.part.empty())
      candidates[{*network.model, network.part}].push_back(i);
  Several several;
  for (const auto& [key, all] : candidates) {
    const auto placed = [&](size_t i) { return is_placed(inspection.networks[i]); };
    const std::vector<size_t> found = without_repeated(all, paths);
    if (found.size() < 2 || std::any_of(all.begin(), all.end(), placed)) continue;
    several.insert(key);
    for (size_t i : all) inspection.networks[i].rule = "one of " + std::to_string(found.size()) + " candidates";
    std::vector<std::string> names;
    for (size_t i : found) names.push_back(inspection.networks[i].name);
    const Parameter* const parameter = find_parameter(key.second);
    inspection.remarks.push_back("several could be " + key.second + " (" + inspection.networks[found[0]].kind + "): " +
                                 some(names) + "; " + (parameter ? parameter->flag() : key.second) + " FILE chooses");
  }
  tell_without_level(inspection);
  return several;
}

std::string model_kind(const Inspection& inspection, const Several& several) {
  Several parts;
  for (const InspectedNetwork& network : inspection.networks)
    if (network.model) parts.emplace(*network.model, network.part);
  std::string text;
  const auto add = [&](Model model, const std::string& task, const std::vector<Network>& own) {
    std::vector<std::string> doubled;
    for (Network network : own) {
      if (!parts.contains({model, field_of(network)})) return;
      if (several.contains({model, field_of(network)})) doubled.push_back(field_of(network));
    }
    text += (text.empty() ? "" : ", ") + task +
            (doubled.empty() ? " model" : " files, several that could be " + either(doubled, " and "));
  };
  add(Model::TextExpert, "text-to-video", {Network::HighNoise, Network::LowNoise});
  add(Model::ImageExpert, "image-to-video", {Network::HighNoise, Network::LowNoise});
  if (inspection.networks.size() > 1) add(Model::Speech, "speech-to-video", {Network::Speech});
  if (!text.empty()) return text;
  return inspection.networks.size() == 1 ? inspection.networks[0].kind : "part of a model";
}

}  // namespace wan
