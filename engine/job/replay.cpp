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

std::string sizes(uint64_t has, uint64_t had) {
  return "has " + std::to_string(has) + " bytes and had " + std::to_string(had);
}

/// How the file of the same name differs; empty where it does not.
std::string difference(const FileIdentity& had, const FileIdentity* has, const ModelParts& parts) {
  std::error_code ignored;  // older versions named files, too, that do not count beside those that are read
  if (!has) return !parts.root.empty() && fs::exists(parts.root / had.name, ignored) ? "" : "is absent";
  if (has->size != had.size) return sizes(has->size, had.size);
  const bool header = is_header_digest(had);
  if (had.digest == (header ? header_digest(path_of(*has, parts)) : has->digest)) return "";
  if (has->digest.starts_with(kWholeDigest)) return "has the same size and other content";
  return header ? "has the same size and another header" : "has the same size and other weights";
}

/// What names another file for a part: how it was named, or the folder that it was found in.
std::string way_out(const std::string& part, const ModelParts& parts) {
  if (part == kLoraPart) return "--lora FILE names another";
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
  const std::string way = "; " + parameter.flag() + " " + (parameter.named ? "DIR" : "FILE") + " gives it";
  if (name.starts_with("data:")) throw InvalidRequest(parameter.name, "was a data URL, which is not kept" + way);
  std::error_code ignored;
  for (const fs::path& path : {beside / name, fs::path(name)})
    if (fs::exists(path, ignored)) return path.string();
  throw InvalidRequest(parameter.name, "is named " + shown_path(name) +
                                           ", and is neither beside the file that names it nor in the current folder" +
                                           way);
}

/// Whether a part was named without its folder and lies in that of the model, where find_parts looks for it.
bool lies_in_model(const std::string& name, const fs::path& beside, const nlohmann::json& fields) {
  const fs::path model = fields.value("model", "");
  if (!is_bare_name(beside.string(), name) || !is_bare_name("", name) || !is_folder(model)) return false;
  return lying_as(name, model, scan_folder(model)).size() == 1;
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
  for (const Parameter& parameter : parameters()) {
    const bool wanted = parameter.path && (which == Named::ModelAndInputs || !parameter.media);
    const auto field = fields.find(parameter.name);
    if (!wanted || field == fields.end() || given.contains(parameter.name)) continue;
    const std::string name = *field;
    if (parameter.part && given.contains("model")) {
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
  for (const FileIdentity& file : record.files)
    if (std::string what = difference(file, same_file(here, file), parts); !what.empty())
      differences.push_back({file.name, what, way_out(file.part, parts), file.part});
  for (const FileIdentity& file : here)
    if (!same_file(record.files, file))
      differences.push_back({file.name, "is new: it was not there", way_out(file.part, parts), file.part});
  return differences;
}

std::vector<Difference> few_of_each_part(const std::vector<Difference>& differences) {
  constexpr size_t kAll = 2;  // a file that is absent, and the new one in its place
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
    const std::string name = shown_path(has->second.name) + " ";
    std::string what;
    if (has->second.size != had.size)
      what = name + sizes(has->second.size, had.size);
    else if (has->second.sha256 != had.sha256)
      what = name + "has the same size and other content";
    const Parameter* parameter = find_parameter(field);
    if (!what.empty())
      differences.push_back({field, what, (parameter ? parameter->flag() : field) + " FILE names another"});
  }
  for (const auto& [field, input] : here) {
    const Parameter* parameter = find_parameter(field);
    const bool had = parameter && !(record.request.*std::get<std::string Request::*>(parameter->field)).empty();
    if (!had) differences.push_back({field, shown_path(input.name) + " is new: there was none", "leave it out"});
  }
  return differences;
}

bool knows_headers_only(const Record& record) {
  return std::any_of(record.files.begin(), record.files.end(), is_header_digest);
}

}  // namespace wan
