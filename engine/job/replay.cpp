#include "engine/job/replay.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/residency/model_sets.h"
#include "engine/residency/part_paths.h"
#include "engine/residency/same_name.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool is_header_digest(const FileIdentity& file) {
  return file.digest.starts_with(kHeaderDigest);
}

/// The file of that name; else one of the same part with the same content. Records of older versions know no parts.
const FileIdentity* same_file(const std::vector<FileIdentity>& files, const FileIdentity& wanted) {
  const auto is_named = [&](const FileIdentity& file) {
    return file.name == wanted.name && (file.part == wanted.part || file.part.empty() || wanted.part.empty());
  };
  const auto is_equal = [&](const FileIdentity& file) {
    return !file.part.empty() && file.part == wanted.part && file.digest == wanted.digest && file.size == wanted.size;
  };
  auto found = std::find_if(files.begin(), files.end(), is_named);
  if (found == files.end()) found = std::find_if(files.begin(), files.end(), is_equal);
  return found == files.end() ? nullptr : &*found;
}

fs::path path_of(const FileIdentity& identity, const ModelParts& parts) {
  const std::vector<PartFile> files = parts.files();
  const auto is_it = [&](const PartFile& file) { return file.name == identity.name; };
  return std::find_if(files.begin(), files.end(), is_it)->path;
}

/// "samples:0123456789ab": enough of a digest to tell two files apart.
std::string shortened(const std::string& digest) {
  constexpr size_t kDigits = 12;
  return digest.substr(0, digest.find(':') + 1 + kDigits);
}

std::string content(uint64_t size, const std::string& digest) {
  return std::to_string(size) + " bytes with " + shortened(digest);
}

std::string as_recorded(const FileIdentity& had) {
  return "must be as recorded, " + content(had.size, had.digest) + ", ";
}

/// How the file `has` in place of the record's differs; empty where it does not.
std::string difference(const FileIdentity& had, const FileIdentity& has, const ModelParts& parts) {
  const bool header = is_header_digest(had);
  const std::string digest = header ? header_digest(path_of(has, parts)) : has.digest;
  if (has.size != had.size) return as_recorded(had) + "is " + content(has.size, digest);
  if (had.digest == digest) return "";
  const char* const other = has.digest.starts_with(kWholeDigest) ? "other content"
                            : header                             ? "another header"
                                                                 : "other weights";
  return as_recorded(had) + "has the same size and " + other + ": " + shortened(digest);
}

/// The files of the record that are not here, and those here that it has not.
struct Moved {
  std::vector<const FileIdentity*> absent, added;

  /// The only added file of a part that only one file of is absent; null where there are others.
  const FileIdentity* in_place_of(const FileIdentity& file) const {
    const auto is_of_part = [&](const FileIdentity* other) { return other->part == file.part; };
    const auto found = std::find_if(added.begin(), added.end(), is_of_part);
    const bool pair = !file.part.empty() && std::count_if(absent.begin(), absent.end(), is_of_part) == 1 &&
                      std::count_if(added.begin(), added.end(), is_of_part) == 1;
    return pair ? *found : nullptr;
  }
};

Moved moved_files(const std::vector<FileIdentity>& recorded, const std::vector<FileIdentity>& here,
                  const ModelParts& parts) {
  Moved moved;
  std::error_code ignored;
  for (const FileIdentity& file : recorded) {
    // Older versions named files, too, that do not count beside those that are read.
    const bool idle = !parts.root.empty() && fs::exists(parts.root / file.name, ignored);
    if (!same_file(here, file) && !idle) moved.absent.push_back(&file);
  }
  for (const FileIdentity& file : here)
    if (!same_file(recorded, file)) moved.added.push_back(&file);
  return moved;
}

/// What names another file for a part: how it was named, or the folder that it was found in.
std::string way_out(const std::string& part, const ModelParts& parts) {
  if (part == kLoraPart) return "--lora FILE names another";
  if (part == kInterpolatorPart) return "--interpolator FILE names another";
  if (part == kSafetyPart) return "--safety-checker DIR names another";
  std::string rule = part == "tokenizer" ? parts.tokenizer.rule : "";
  for (const auto& [network, found] : parts.networks)
    if (part == field_of(network)) rule = found.rule;
  const Parameter* const parameter = part.empty() ? nullptr : find_parameter(part);
  const std::string flag = parameter ? parameter->flag() : "";
  if (!flag.empty() && (rule.starts_with("--") || parts.root.empty())) return flag + " FILE names another";
  if (!flag.empty() && rule.starts_with("set ")) return flag + " FILE or --model with another set names another";
  return "--model DIR names another folder";
}

/// The file of that name beside the video or in the current folder.
std::string find_name(const Parameter& parameter, const std::string& name, const fs::path& beside) {
  const bool checker = parameter.field == Field(&Request::safety_checker);
  const std::string way =
      "; " + parameter.flag() + " " + (parameter.named || checker ? "DIR" : "FILE") + " gives it" +
      (checker ? ", --no-enable-safety-checker with --no-enable-output-safety-checker does without" : "");
  if (name.starts_with("data:")) throw InvalidRequest(parameter.name, "was a data URL, which is not kept" + way);
  std::error_code ignored;
  for (const fs::path& path : {beside / name, fs::path(name)})
    if (fs::exists(path, ignored)) return path.string();
  throw InvalidRequest(parameter.name, "must be " + shown_path(name) +
                                           " as recorded, and none is beside the file with the record or in the "
                                           "current folder" +
                                           way);
}

/// Whether a part was named without its folder and lies in that of the model, where find_parts looks for it.
bool lies_in_model(const std::string& name, const fs::path& beside, const nlohmann::json& fields) {
  const fs::path model = fields.value("model", "");
  if (!is_bare_name(beside.string(), name) || !is_bare_name("", name) || !is_folder(model)) return false;
  return lying_as(name, model, scan_folder(model)).size() == 1;
}

/// The checker of checks that are not made; and where a checker or a list is given for a video that was made without, the
/// checks are on as in a new request.
void settle_checks(const nlohmann::json& given, nlohmann::json& fields) {
  constexpr const char* kChecks[] = {"enable_safety_checker", "enable_output_safety_checker"};
  const auto is_on = [&](const char* name) {
    const nlohmann::json value = given.contains(name) ? given.at(name) : fields.value(name, nlohmann::json(false));
    return value == true || value == "true";
  };
  const auto is_given = [&](const char* name) { return given.contains(name); };
  if (is_on(kChecks[0]) || is_on(kChecks[1])) return;
  fields.erase("safety_checker");
  if ((is_given("safety_checker") || is_given("blocked_words")) && std::ranges::none_of(kChecks, is_given))
    for (const char* name : kChecks) fields.erase(name);
}

}  // namespace

nlohmann::json find_named(const Request& stored, const nlohmann::json& given, const fs::path& beside, Named which) {
  nlohmann::json fields = to_json(stored);
  std::vector<FieldError> errors;
  const Parameter& loras = *find_parameter("loras");
  if (which == Named::Model || given.contains(loras.name)) fields.erase(loras.name);
  if (fields.contains(loras.name))
    for (nlohmann::json& lora : fields[loras.name]) try {
        lora["path"] = find_name(loras, lora["path"], beside);
      } catch (const InvalidRequest& invalid) {
        errors.insert(errors.end(), invalid.errors.begin(), invalid.errors.end());
      }
  // The weights of an interpolator that is not used, or of another than is asked for, and how that one draws.
  const nlohmann::json stored_by = fields.value("interpolator_model", "none"),
                       drawn_by = given.value("interpolator_model", stored_by);
  if (drawn_by == "none" || drawn_by != stored_by) fields.erase("interpolator");
  if (drawn_by != stored_by) fields.erase("interpolation_times");
  settle_checks(given, fields);
  for (const Parameter& parameter : parameters()) {
    const bool wanted = parameter.path && (which == Named::ModelAndInputs || !parameter.is_told_by_content());
    const auto field = fields.find(parameter.name);
    if (!wanted || field == fields.end() || given.contains(parameter.name)) continue;
    const std::string name = *field;
    if (parameter.part && given.contains("model")) {
      if (lies_in_model(name, beside, given)) continue;
      fields.erase(field);
      continue;
    }
    if (parameter.named && is_bare_name(beside.string(), name) && is_bare_name("", name) &&
        read_sets(given.value("models", "")).contains(name))
      continue;
    if (is_url(name) && !name.starts_with("data:")) continue;
    if (parameter.part && lies_in_model(name, beside, fields)) continue;
    try {
      *field = find_name(parameter, name, beside);
    } catch (const InvalidRequest& invalid) {
      errors.insert(errors.end(), invalid.errors.begin(), invalid.errors.end());
    }
  }
  if (!errors.empty()) throw InvalidRequest(errors);
  return fields;
}

std::vector<Difference> other_files(const Record& record, const ModelParts& parts, IdentityCache& cache) {
  std::vector<Difference> differences;
  const std::vector<FileIdentity> here = identities(parts, cache);
  const Moved moved = moved_files(record.files, here, parts);
  const auto add = [&](const FileIdentity& file, const std::string& what) {
    differences.push_back({file.name, what, way_out(file.part, parts), file.part});
  };
  std::set<const FileIdentity*> told;
  for (const FileIdentity& file : record.files) {
    if (const FileIdentity* same = same_file(here, file)) {
      if (const std::string what = difference(file, *same, parts); !what.empty()) add(file, what);
    } else if (std::find(moved.absent.begin(), moved.absent.end(), &file) != moved.absent.end()) {
      const FileIdentity* const other = moved.in_place_of(file);
      add(file, as_recorded(file) +
                    (other ? "is " + shown_text(other->name, 120) + " of " + content(other->size, other->digest)
                           : "is absent"));
      told.insert(other);
    }
  }
  for (const FileIdentity* file : moved.added)
    if (!told.contains(file))
      add(*file, "must not be there, as recorded, is there: " + content(file->size, file->digest));
  return differences;
}

std::vector<Difference> few_of_each_part(const std::vector<Difference>& differences) {
  constexpr size_t kAll = 2;
  std::map<std::string, size_t> counts;
  for (const Difference& difference : differences) ++counts[difference.part];
  std::vector<Difference> told;
  std::set<std::string> parts;
  for (Difference difference : differences) {
    const std::string& part = difference.part;
    const size_t count = counts.at(part);
    if (!part.empty() && count > kAll) {
      if (!parts.insert(part).second) continue;
      difference.what += ", and " + std::to_string(count - 1) + " more files of " + part + " differ";
    }
    told.push_back(std::move(difference));
  }
  return told;
}

std::vector<Difference> other_inputs(const Record& record, const InputIdentities& here) {
  std::vector<Difference> differences;
  for (const auto& [field, had] : record.inputs) {
    const auto has = here.find(field);
    if (has == here.end()) continue;
    const auto told = [](const InputIdentity& input) {
      return shown_path(input.name) + " of " + content(input.size, "sha256:" + input.sha256);
    };
    std::string what;
    if (has->second.size != had.size || has->second.sha256 != had.sha256)
      what = "must be as recorded, " + told(had) + ", is " + told(has->second);
    const Parameter* parameter = find_parameter(field);
    if (!what.empty())
      differences.push_back({field, what, (parameter ? parameter->flag() : field) + " FILE names another"});
  }
  for (const auto& [field, input] : here) {
    const Parameter* parameter = find_parameter(field);
    const bool had = parameter && !(record.request.*std::get<std::string Request::*>(parameter->field)).empty();
    if (!had)
      differences.push_back({field, "must be left out, as recorded, is " + shown_path(input.name), "leave it out"});
  }
  return differences;
}

bool knows_headers_only(const Record& record) {
  return std::any_of(record.files.begin(), record.files.end(), is_header_digest);
}

}  // namespace wan
