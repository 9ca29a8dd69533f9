#include "engine/residency/find_parts.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/listing.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/safety.h"
#include "engine/residency/find_tokenizer.h"
#include "engine/residency/folder_scan.h"
#include "engine/residency/interpolator_file.h"
#include "engine/residency/missing_parts.h"
#include "engine/residency/model_sets.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_checks.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/part_paths.h"
#include "engine/residency/recognised_files.h"
#include "engine/residency/safety_files.h"
#include "engine/residency/same_name.h"
#include "engine/residency/short_names.h"
#include "models/files/error.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

class Search {
 public:
  Search(const Request& request, RecognisedFiles& files) : request_(request), task_(request.task), files_(files) {}

  InterpolatorPart interpolator() {
    take_interpolator(open_model(), /*is_all=*/true);
    if (!errors_.empty()) throw errors_[0];
    return found_.interpolator;
  }

  ModelPart safety_checker() {
    take_safety_checker(open_model());
    if (!errors_.empty()) throw errors_[0];
    return found_.safety_checker;
  }

  PartsSearch run() {
    const std::map<std::string, fs::path> set = open_model();
    for (Network network : networks_of(task_)) {
      if (const auto part = named(field_of(network), name(network), set))
        found_.networks[network] = *part;
      else if (const auto placed = at_usual_place(network))
        found_.networks[network] = *placed;
    }
    take_scanned();
    take_tokenizer(set);
    take_interpolator(set);
    take_safety_checker(set);
    for (const auto& [network, part] : found_.networks) check(network, part);
    check_experts();
    if (!missing_.networks.empty() || missing_.tokenizer)
      errors_.push_back(missing_error(missing_, found_.root, task_, scan_, files_));
    return {std::move(found_), std::move(errors_), std::move(several_), std::move(damaged_), std::move(left_out_)};
  }

 private:
  void refuse(const fs::path& about, const std::string& what) { errors_.emplace_back(about.string(), what); }

  /// The file of the sets as messages name it.
  std::string sets_name() const { return shown_name(sets_file(request_.models).filename().string()); }

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
    missing_.set = shown_text(set->first);
    rule_ = "set " + missing_.set;
    const auto family = [](Task task) { return task == Task::V2V ? Task::T2V : task; };
    if (set->second.task && family(*set->second.task) != family(task_))
      throw ModelError(request_.model, std::string("must be a set for ") + task_name(task_) + ", is for " +
                                           task_name(*set->second.task) + "; --model names another");
    if (const std::string why = closed_to_us(set->second.model); !why.empty())
      throw ModelError(set->second.model, "must be a folder, cannot be looked at: " + why);
    if (!set->second.model.empty() && !is_there(set->second.model))
      throw ModelError(set->second.model,
                       "must be a folder, is not there; " + sets_name() + " has it as model of set " + missing_.set);
    found_.root = without_slash(set->second.model);
    return set->second.parts;
  }

  /// What a flag or the set names.
  std::optional<ModelPart> named(const std::string& field, const std::string& words,
                                 const std::map<std::string, fs::path>& set) {
    const Parameter& parameter = *find_parameter(field);
    fs::path path = request_.*std::get<std::string Request::*>(parameter.field);
    const auto in_set = set.find(field);
    const bool by_set = path.empty() && in_set != set.end();
    if (by_set) path = in_set->second;
    if (path.empty()) return std::nullopt;
    path = without_slash(path);
    if (const std::string why = closed_to_us(path); !why.empty())
      refuse(path, "must be the " + words + ", cannot be looked at: " + why);
    else if (!is_there(path) && by_set)
      refuse(path, "must be the " + words + ", is not there; " + sets_name() + " has it as " + field + " of set " +
                       missing_.set + "; " + parameter.flag() + " names another");
    else if (!is_there(path))
      path = in_model(path, parameter.flag(), words);
    return ModelPart{path, name_in(found_.root, path), by_set ? rule_ : parameter.flag()};
  }

  /// What a flag names and is not there: a name without a folder may be that of a file in the model's folder.
  fs::path in_model(const fs::path& path, const std::string& flag, const std::string& words) {
    const bool bare = !path.has_parent_path(), folder = is_folder(found_.root);
    const std::vector<fs::path> there =
        folder ? lying_as(path.filename(), found_.root, scan()) : std::vector<fs::path>();
    if (!bare || there.size() != 1) {
      refuse(path, "must be the " + words + not_there(flag, there, folder ? found_.root : "", scan_, bare));
      return path;
    }
    const std::string place = name_in(found_.root, there[0]);
    found_.remarks.push_back(flag + " " + shown_name(path.string()) + " is taken from the model's folder" +
                             (place == path.string() ? "" : ": " + shown_text(place, 120)));
    return there[0];
  }

  /// What lies under the model's folder, looked through once.
  const FolderScan& scan() {
    if (std::exchange(scanned_, true)) return scan_;
    if (is_folder(found_.root))
      scan_ = scan_folder(found_.root);
    else
      scan_.checkpoints = {{found_.root, found_.root.filename().string(), "--model"}};
    return scan_;
  }

  std::optional<ModelPart> at_usual_place(Network network) {
    if (!is_folder(found_.root)) return std::nullopt;
    const auto look = [&](std::span<const UsualPlace> places, const char* rule) -> std::optional<ModelPart> {
      for (const UsualPlace& place : places) {
        const std::string name = place.path;
        const fs::path path = name == "." ? found_.root : found_.root / name;
        if (place.network != network || !is_there(path)) continue;
        if (name == "." && !is_speech(path)) continue;
        const fs::path taken = name == "." ? path : one_network_in(path);
        if (taken.empty()) continue;
        return ModelPart{taken, taken == path ? name : name + "/" + taken.filename().string(), rule};
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
    return file.broken || file.network.model == Model::Speech;
  }

  void take_scanned() {
    for (Network network : networks_of(task_))
      if (!found_.networks.contains(network)) missing_.networks.push_back(network);
    if (missing_.networks.empty() || found_.root.empty()) return;
    scan();
    std::erase_if(missing_.networks, [&](Network network) { return take_candidate(network); });
    for (const std::string& remark : remarks_of(scan_)) found_.remarks.push_back(remark);
    left_out_ = unreadable_remark(scan_, found_, files_);
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
    several_.emplace_back(found_.root.string(), std::string("must hold one ") + name(network) + ", holds " +
                                                    listed(std::move(names)) + "; " + flag_of(network) +
                                                    " FILE chooses");
  }

  void take_tokenizer(const std::map<std::string, fs::path>& set) {
    const auto encoder = found_.networks.find(Network::TextEncoder);
    const TokenizerSearch search = find_tokenizer(named("tokenizer", "tokenizer", set), found_.root,
                                                  encoder == found_.networks.end() ? nullptr : &encoder->second);
    if (search.part) found_.tokenizer = *search.part;
    missing_.tokenizer = !search.part && search.errors.empty();
    errors_.insert(errors_.end(), search.errors.begin(), search.errors.end());
    found_.remarks.insert(found_.remarks.end(), search.remarks.begin(), search.remarks.end());
  }

  void take_interpolator(const std::map<std::string, fs::path>& set, bool is_all = false) {
    if (!interpolation_of(request_).is_on()) return;
    const auto in_set = set.find(kInterpolatorPart);
    InterpolatorSearch search{.model = request_.interpolator_model, .root = found_.root, .is_all = is_all};
    search.named =
        request_.interpolator.empty() && in_set != set.end() ? in_set->second : fs::path(request_.interpolator);
    search.rule = request_.interpolator.empty() ? rule_ : find_parameter(kInterpolatorPart)->flag();
    try {
      found_.interpolator = find_interpolator(search);
    } catch (const ModelError& error) {
      errors_.push_back(error);
    }
  }

  void take_safety_checker(const std::map<std::string, fs::path>& set) {
    if (!request_.enable_safety_checker && !request_.enable_output_safety_checker) return;
    const auto in_set = set.find(kSafetyPart);
    const bool named = !request_.safety_checker.empty();
    if (!named && in_set == set.end()) {
      if (needs_safety_checker(request_))
        refuse("--safety-checker",
               std::string("is needed: pictures are to be looked at; --safety-checker DIR names the "
                           "folder of one") +
                   kSafetyPublished);
      return;
    }
    const fs::path place = without_slash(named ? fs::path(request_.safety_checker) : in_set->second);
    try {
      find_safety_checker(place);
      found_.safety_checker = {place, place.filename().string(), named ? "--safety-checker" : rule_};
    } catch (const ModelError& error) {
      errors_.push_back(error);
    }
  }

  void check(Network network, const ModelPart& part) {
    const RecognisedFile& file = files_.at(part.path);
    if (file.broken) damaged_.emplace(network, *file.broken);
    if (!file.left_out.empty()) found_.remarks.push_back(left_out_remark(part.name, file.left_out));
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
  bool scanned_ = false;
  RecognisedFiles& files_;
  std::vector<ModelError> errors_, several_;
  std::map<Network, ModelError> damaged_;
  std::string left_out_;
};

}  // namespace

InterpolatorPart interpolator_of(const Request& request) {
  RecognisedFiles files;
  return Search(request, files).interpolator();
}

ModelPart safety_checker_of(const Request& request) {
  RecognisedFiles files;
  return Search(request, files).safety_checker();
}

std::vector<ModelPart> lora_parts(const Request& request) {
  std::vector<ModelPart> parts;
  std::error_code ignored;
  for (const Lora& lora : request.loras) {
    const fs::path path = lora.path;
    if (const std::string why = closed_to_us(path); !why.empty())
      throw ModelError(lora.path, "must be a LoRA's file, cannot be looked at: " + why);
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

PartsSearch search_parts(const Request& request, RecognisedFiles& files) {
  return Search(request, files).run();
}

ModelParts find_parts(const Request& request) {
  RecognisedFiles files;
  PartsSearch found = search_parts(request, files);
  std::vector<ModelError> errors = std::move(found.several);
  errors.insert(errors.end(), found.errors.begin(), found.errors.end());
  if (errors.size() > 1) throw ModelErrors(errors);
  if (!errors.empty()) throw errors[0];
  if (!found.left_out.empty()) found.parts.remarks.push_back(found.left_out);
  found.parts.loras = lora_parts(request);
  return std::move(found.parts);
}

}  // namespace wan
