#include "engine/residency/find_parts.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/listing.h"
#include "engine/request/params.h"
#include "engine/residency/folder_scan.h"
#include "engine/residency/missing_parts.h"
#include "engine/residency/model_sets.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_checks.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/recognised_files.h"
#include "engine/residency/short_names.h"
#include "engine/residency/tokenizer_places.h"
#include "models/files/error.h"
#include "models/text/tokenizer/source.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// "a, b".
std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + printable(word);
  return text;
}

/// A link to nothing counts: it is told where it is opened.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

/// "high_noise_model/" is high_noise_model.
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

/// Relative to `root` where it lies in it.
std::string name_of(const fs::path& path, const fs::path& root) {
  const fs::path whole = fs::absolute(without_slash(path)).lexically_normal();
  const fs::path inside =
      root.empty() ? fs::path() : whole.lexically_relative(fs::absolute(root / "").lexically_normal().parent_path());
  return inside.empty() || *inside.begin() == ".." ? whole.filename().string() : inside.generic_string();
}

class Search {
 public:
  explicit Search(const Request& request) : request_(request), task_(request.task) {}

  ModelParts run() {
    const std::map<std::string, fs::path> set = open_model();
    for (Network network : networks_of(task_)) {
      if (const auto part = named(field_of(network), name(network), set))
        found_.networks[network] = *part;
      else if (const auto placed = at_usual_place(network))
        found_.networks[network] = *placed;
    }
    take_scanned();
    take_tokenizer(set);
    for (const auto& [network, part] : found_.networks) check(network, part);
    check_experts();
    if (!missing_.networks.empty() || missing_.tokenizer)
      errors_.push_back(missing_error(missing_, found_.root, task_, scan_, files_));
    if (errors_.size() > 1) throw ModelErrors(errors_);
    if (!errors_.empty()) throw errors_[0];
    found_.loras = lora_parts(request_);
    return std::move(found_);
  }

 private:
  void refuse(const fs::path& about, const std::string& what) { errors_.emplace_back(about.string(), what); }

  /// Settles the root. Returns what a set has for the parts.
  std::map<std::string, fs::path> open_model() {
    if (request_.model.empty()) return {};
    std::error_code error;
    const fs::file_type type = fs::status(request_.model, error).type();
    if (type != fs::file_type::not_found && error)
      throw ModelError(request_.model, "cannot be opened: " + error.message());
    if (type != fs::file_type::not_found) {
      found_.root = without_slash(request_.model);
      return {};
    }
    const std::map<std::string, ModelSet> sets = read_sets(request_.models);
    const auto set = sets.find(request_.model);
    if (set == sets.end())
      throw no_such_model(request_.model, sets, "--model names the folder of a Wan 2.2 checkpoint, see weights.md");
    if (!set->second.wrong.empty()) throw ModelError(sets_file(request_.models).string(), set->second.wrong);
    rule_ = "set " + set->first;
    const auto family = [](Task task) { return task == Task::V2V ? Task::T2V : task; };
    if (set->second.task && family(*set->second.task) != family(task_))
      throw ModelError(request_.model, std::string("must be a set for ") + task_name(task_) + ", is for " +
                                           task_name(*set->second.task) + "; --model names another");
    if (!set->second.model.empty() && !is_there(set->second.model))
      throw ModelError(set->second.model, "must be a folder, is not there; models.json has it as model of " + rule_);
    found_.root = without_slash(set->second.model);
    return set->second.parts;
  }

  /// What a flag or the set names.
  std::optional<ModelPart> named(const std::string& field, const std::string& words,
                                 const std::map<std::string, fs::path>& set) {
    const Parameter& parameter = *find_parameter(field);
    fs::path path = request_.*std::get<std::string Request::*>(parameter.field);
    const auto in_set = set.find(field);
    std::string rule = parameter.flag();
    if (path.empty() && in_set != set.end()) path = in_set->second, rule = rule_;
    if (path.empty()) return std::nullopt;
    path = without_slash(path);
    if (!is_there(path)) refuse(path, "must be the " + words + ", is not there; " + parameter.flag() + " names it");
    return ModelPart{path, name_of(path, found_.root), rule};
  }

  std::optional<ModelPart> at_usual_place(Network network) {
    if (!is_folder(found_.root)) return std::nullopt;
    const auto look = [&](std::span<const UsualPlace> places, const char* rule) -> std::optional<ModelPart> {
      for (const UsualPlace& place : places) {
        const std::string name = place.path;
        const fs::path path = name == "." ? found_.root : found_.root / name;
        if (place.network != network || !is_there(path)) continue;
        if (name != "." || is_speech(path)) return ModelPart{path, name, rule};
      }
      return std::nullopt;
    };
    if (const auto part = look(official_places(), kOfficialLayout)) return part;
    if (!is_there(found_.root / "model_index.json")) return std::nullopt;
    return look(diffusers_places(), kDiffusersLayout);
  }

  /// Whether the folder itself holds the speech transformer, be it in part.
  bool is_speech(const fs::path& folder) {
    if (!holds_checkpoint(folder)) return false;
    const RecognisedFile& file = files_.at(folder);
    return !file.broken.empty() || file.network.model == Model::Speech;
  }

  void take_scanned() {
    for (Network network : networks_of(task_))
      if (!found_.networks.contains(network)) missing_.networks.push_back(network);
    if (missing_.networks.empty() || found_.root.empty()) return;
    if (is_folder(found_.root))
      scan_ = scan_folder(found_.root);
    else
      scan_.checkpoints = {{found_.root, found_.root.filename().string(), "--model"}};
    std::erase_if(missing_.networks, [&](Network network) { return take_candidate(network); });
    found_.remarks = remarks_of(scan_);
  }

  /// Whether there was one, or several.
  bool take_candidate(Network network) {
    std::vector<ModelPart> fit;
    for (const ModelPart& candidate : scan_.checkpoints) {
      if (files_.at(candidate.path).network.model != kind_of(network, task_).model) continue;
      if (const auto level = level_of(network); level && noise_level(candidate) != level) continue;
      const auto known = [&](const ModelPart& other) { return is_same(other.path, candidate.path); };
      if (std::none_of(fit.begin(), fit.end(), known)) fit.push_back(candidate);
    }
    if (fit.empty()) return false;
    if (fit.size() > 1) refuse_several(network, fit);
    searched_.insert(network);
    found_.networks[network] = fit[0];
    return true;
  }

  void refuse_several(Network network, const std::vector<ModelPart>& fit) {
    std::vector<std::string> names;
    for (const ModelPart& part : fit) names.push_back(shown_text(part.name, 120));
    refuse(found_.root, std::string("must hold one ") + name(network) + ", holds " + listed(std::move(names)) + "; " +
                            flag_of(network) + " FILE chooses");
  }

  void take_tokenizer(const std::map<std::string, fs::path>& set) {
    if (const auto part = named("tokenizer", "tokenizer", set)) {
      found_.tokenizer = *part;
      check_tokenizer();
      return;
    }
    const auto encoder = found_.networks.find(Network::TextEncoder);
    std::vector<fs::path> encoders;
    if (encoder != found_.networks.end()) encoders.push_back(encoder->second.path);
    for (const auto& [path, rule] : tokenizer_places(found_.root, encoders)) {
      if (!is_there(path / "tokenizer.json") && !is_there(path / "spiece.model")) continue;
      found_.tokenizer = {path, name_of(path, found_.root), rule};
      note_two_tokenizers();
      return;
    }
    missing_.tokenizer = encoder == found_.networks.end() || !holds_tokenizer(encoder->second.path);
    if (!missing_.tokenizer) found_.tokenizer = {encoder->second.path, encoder->second.name, "inside the text encoder"};
  }

  /// One that the user named.
  void check_tokenizer() {
    const fs::path& path = found_.tokenizer.path;
    const auto holds = [](const fs::path& folder) {
      return is_there(folder / "tokenizer.json") || is_there(folder / "spiece.model");
    };
    if (holds(path)) return note_two_tokenizers();
    for (const char* inside : {kOfficialTokenizer, kDiffusersTokenizer})
      if (holds(path / inside))
        refuse(path, "must be the tokenizer's folder, is that of a whole model; --tokenizer " +
                         shown_name((path / inside).string(), true) + " names it");
  }

  /// Not of the published folder, which has both, wherever it lies.
  void note_two_tokenizers() {
    const auto& [path, label, rule] = found_.tokenizer;
    if (path.filename() == fs::path(kOfficialTokenizer).filename() || !is_there(path / "tokenizer.json") ||
        !is_there(path / "spiece.model"))
      return;
    found_.remarks.push_back(shown_text(label, 120) +
                             " holds tokenizer.json and spiece.model: tokenizer.json is taken");
  }

  bool holds_tokenizer(const fs::path& encoder) {
    try {
      const auto inside = text::tokenizer_source(Checkpoint::open(encoder));  // what is wrong in it check_model tells
      if (inside && !inside->assumed.empty()) found_.remarks.push_back(inside->from + ": " + inside->assumed);
      return inside.has_value();
    } catch (const ModelError& error) {
      errors_.push_back(error);
      return true;  // what is wrong with it is told
    }
  }

  void check(Network network, const ModelPart& part) {
    const RecognisedFile& file = files_.at(part.path);
    if (!file.left_out.empty())
      found_.remarks.push_back(shown_text(part.name, 120) +
                               " holds other networks as well, which are not used: " + joined(file.left_out));
    if (searched_.contains(network)) return;  // it was chosen by what it is
    const bool by_name = part.rule == rule_ || part.rule.starts_with("--");
    const PartVerdict verdict = judge(network, task_, part, file, by_name);
    for (const std::string& remark : verdict.remarks) found_.remarks.push_back(remark);
    // A folder of another task is told once.
    const bool told = level_of(network) && !by_name && std::exchange(other_experts_, verdict.other || other_experts_);
    if (verdict.error && !(verdict.other && told)) errors_.push_back(*verdict.error);
  }

  void check_experts() {
    const auto high = found_.networks.find(Network::HighNoise), low = found_.networks.find(Network::LowNoise);
    if (high == found_.networks.end() || low == found_.networks.end()) return;
    if (is_same(high->second.path, low->second.path))
      refuse(high->second.path, "must be one expert, is given as both; --high-noise and --low-noise name two");
  }

  const Request& request_;
  const Task task_;
  std::string rule_;  // of parts that the set names
  ModelParts found_;
  MissingParts missing_;
  std::set<Network> searched_;  // found by looking through the folder
  bool other_experts_ = false;  // an expert at its place is none of this task
  FolderScan scan_;
  RecognisedFiles files_;
  std::vector<ModelError> errors_;
};

}  // namespace

std::vector<ModelPart> lora_parts(const Request& request) {
  std::vector<ModelPart> parts;
  std::error_code ignored;
  for (const Lora& lora : request.loras) {
    const fs::path path = lora.path;
    if (!fs::is_regular_file(path, ignored))
      throw ModelError(lora.path, std::string("must be a LoRA's file, ") +
                                      (is_there(path) ? "is none" : "is not there") + "; --lora names it");
    const auto known = [&](const ModelPart& part) { return is_same(part.path, path); };
    if (std::none_of(parts.begin(), parts.end(), known)) parts.push_back({path, "", "--lora"});
  }
  std::vector<fs::path> paths;
  for (const ModelPart& part : parts) paths.push_back(part.path);
  const std::vector<std::string> names = short_names(paths);
  for (size_t i = 0; i < parts.size(); ++i) parts[i].name = names[i];
  return parts;
}

ModelParts find_parts(const Request& request) {
  return Search(request).run();
}

}  // namespace wan
