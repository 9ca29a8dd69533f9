#include "engine/residency/inspect_parts.h"

#include <algorithm>
#include <map>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/missing_parts.h"
#include "engine/residency/noise_level.h"
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

/// Of the networks of one part the one that a render takes: at the place of the official layout, of diffusers, the first.
size_t taken_one(const std::vector<size_t>& all, const Inspection& inspection) {
  for (const char* layout : {kOfficialLayout, kDiffusersLayout})
    for (size_t i : all)
      if (inspection.networks[i].rule == layout) return i;
  return all[0];
}

void tell_unused(size_t i, size_t taken, const std::vector<fs::path>& paths, Inspection& inspection) {
  std::error_code ignored;
  const std::string name = shown_text(inspection.networks[taken].name, 120);
  if (i == taken) return;
  const bool same = fs::equivalent(paths[i], paths[taken], ignored);
  inspection.networks[i].rule = same ? "the same file as " + name : "not used: " + name + " is taken";
}

/// The experts whose names do not say which one they are.
void tell_without_level(const std::vector<fs::path>& paths, Inspection& inspection) {
  std::map<std::string, std::vector<std::string>> names;  // by what is wrong with them
  for (size_t i = 0; i < paths.size(); ++i) {
    const InspectedNetwork& network = inspection.networks[i];
    if (network.part.empty() && (network.model == Model::TextExpert || network.model == Model::ImageExpert))
      names[without_level({paths[i], network.name, ""})].push_back(network.name == "." ? inspection.path
                                                                                       : network.name);
  }
  for (const auto& [wrong, all] : names)
    inspection.remarks.push_back(some(all) + ": the name " + wrong +
                                 "; --high-noise FILE or --low-noise FILE says which expert it is");
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

void add_remark(Inspection& inspection, const std::string& remark) {
  std::vector<std::string>& all = inspection.remarks;
  if (std::find(all.begin(), all.end(), remark) == all.end()) all.push_back(remark);
}

void tell_left_out(Inspection& inspection) {
  for (const InspectedNetwork& network : inspection.networks)
    if (!network.left_out.empty())
      add_remark(inspection, left_out_remark(network.name == "." ? inspection.path : network.name, network.left_out));
}

Several tell_several(const std::vector<fs::path>& paths, Inspection& inspection) {
  std::map<std::pair<Model, std::string>, std::vector<size_t>> candidates;
  for (size_t i = 0; i < paths.size(); ++i)
    if (const InspectedNetwork& network = inspection.networks[i];
        network.model && !network.part.empty() && !network.rule.starts_with("not used: "))
      candidates[{*network.model, network.part}].push_back(i);
  Several several;
  for (const auto& [key, all] : candidates) {
    const std::vector<size_t> found = without_repeated(all, paths);
    const size_t taken = taken_one(all, inspection);
    if (found.size() < 2 || is_placed(inspection.networks[taken])) {
      for (size_t i : all) tell_unused(i, taken, paths, inspection);
      continue;
    }
    several.insert(key);
    for (size_t i : all) inspection.networks[i].rule = "one of " + std::to_string(found.size()) + " candidates";
    std::vector<std::string> names;
    for (size_t i : found) names.push_back(inspection.networks[i].name);
    const Parameter* const parameter = find_parameter(key.second);
    inspection.remarks.push_back("several could be " + key.second + " (" + inspection.networks[found[0]].kind + "): " +
                                 some(names) + "; " + (parameter ? parameter->flag() : key.second) + " FILE chooses");
  }
  tell_without_level(paths, inspection);
  return several;
}

std::string model_kind(const Inspection& inspection, const Several& several) {
  std::string text;
  for (const InspectedTask& task : inspection.tasks) {
    const Task of = *task_named(task.name);
    std::vector<std::string> doubled;
    for (Network network : networks_of(of))
      if (several.contains({kind_of(network, of).model, field_of(network)})) doubled.push_back(field_of(network));
    const std::string kind = of == Task::T2V ? "text-to-video" : of == Task::I2V ? "image-to-video" : "speech-to-video";
    const std::string part = std::string("part of ") + (of == Task::I2V ? "an " : "a ") + kind + " model";
    text += (text.empty() ? "" : ", ") + (!doubled.empty()
                                              ? kind + " files, several that could be " + either(doubled, " and ")
                                          : task.refusals.empty() ? kind + " model"
                                                                  : part);
  }
  return text.empty() ? "part of a model" : text;
}

}  // namespace wan
