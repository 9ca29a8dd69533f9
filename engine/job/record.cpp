#include "engine/job/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/version.h"
#include "engine/residency/short_names.h"
#include "models/files/json.h"
#include "models/vae/tiles.h"

namespace wan {

namespace {

std::string word(at::Device device) {
  return device.is_cuda() ? "cuda" : "cpu";
}

/// Of LoRAs, which replay looks for by these names: two of one name have that of their folder, too.
void store_names(nlohmann::ordered_json& loras, Metadata level) {
  std::vector<std::filesystem::path> paths;
  for (const auto& lora : loras) paths.emplace_back(lora["path"].get<std::string>());
  const std::vector<std::string> names = short_names(paths);
  for (size_t i = 0; i < paths.size(); ++i)
    if (level == Metadata::Minimal)
      loras[i].erase("path");
    else
      loras[i]["path"] = names[i];
}

/// A file goes to other people: it names folders and inputs, and says nothing about where they lie.
nlohmann::ordered_json stored_request(const Request& request, Metadata level) {
  nlohmann::ordered_json json = to_json(request);
  for (const Parameter& parameter : parameters()) {
    if (!json.contains(parameter.name)) continue;
    if (parameter.repeated) {
      store_names(json[parameter.name], level);
      continue;
    }
    const bool folder = parameter.path && !parameter.is_told_by_content(),
               text = parameter.field == Field(&Request::prompt) ||
                      parameter.field == Field(&Request::negative_prompt) ||
                      parameter.field == Field(&Request::expander_model);
    if (level == Metadata::Minimal && (parameter.path || text))
      json.erase(parameter.name);
    else if (parameter.path)
      json[parameter.name] = folder ? stored_folder(json[parameter.name]) : stored_name(json[parameter.name]);
  }
  return json;
}

nlohmann::ordered_json stored_files(const std::vector<FileIdentity>& files, Metadata level) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FileIdentity& file : files) {
    nlohmann::ordered_json entry = {{"name", file.name}, {"size", file.size}, {"digest", file.digest}};
    if (!file.part.empty()) entry["part"] = file.part, entry["found"] = file.rule;
    if (level == Metadata::Minimal) entry.erase("name"), entry.erase("found");
    list.push_back(entry);
  }
  return list;
}

nlohmann::ordered_json stored_inputs(const InputIdentities& inputs, Metadata level) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [field, input] : inputs) {
    json[field] = {{"name", input.name}, {"size", input.size}, {"sha256", input.sha256}};
    if (level == Metadata::Minimal) json[field].erase("name");
  }
  return json;
}

constexpr const char *kSkippedBlocks = "skip_softmax_blocks", *kReusedSteps = "reused_steps";
constexpr const char* kExpandedPrompt = "expanded_prompt";
constexpr const char *kTileRows = "vae_tile_rows", *kWideTileRows = "vae_tile_rows_float32";

/// Of what the VAE began in, and of float32 for clips that leave the range of float16. 0: on whole frames.
void store_tiles(const Record& record, nlohmann::ordered_json& json) {
  const auto store = [&](const char* name, int64_t rows) {
    if (rows != VaeTiles::kUnknown) json[name] = rows;
  };
  const bool half = record.vae_dtype == "float16";
  store(kTileRows, half ? record.vae_tiles.half : record.vae_tiles.wide);
  if (half) store(kWideTileRows, record.vae_tiles.wide);
}

/// Records of older builds left out what was on whole frames, or all of it.
VaeTiles read_tiles(const nlohmann::json& json, const std::string& dtype, const std::string& field) {
  const auto rows = [&](const char* name) {
    if (!json.contains(name)) return VaeTiles::kUnknown;
    const auto found = json.at(name).get<int64_t>();
    if (!are_planned_rows(found))
      throw InvalidRequest(field, std::string("holds no request of wan-infer: its ") + name + " must be 0 or " +
                                      std::to_string(vae::kTileRows) + ", got " + std::to_string(found));
    return found;
  };
  if (dtype == "float16") return {.half = rows(kTileRows), .wide = rows(kWideTileRows)};
  return {.half = 0, .wide = rows(kTileRows)};
}

constexpr const char *kQuality = "quality", *kQualityFirst = "quality_first", *kAsked = "asked";

/// Members of what was asked for that are not, or are others, in what was computed.
nlohmann::ordered_json asked_otherwise(const Record& record, Metadata level) {
  const nlohmann::ordered_json made = stored_request(record.request, level);
  nlohmann::ordered_json others = nlohmann::ordered_json::object();
  const nlohmann::ordered_json asked = stored_request(*record.asked, level);  // items() refers to it
  for (const auto& [name, value] : asked.items())
    if (!made.contains(name) || made.at(name) != value) others[name] = value;
  return others;
}

void store_quality(const Record& record, Metadata level, nlohmann::ordered_json& json) {
  if (record.asked) json[kAsked] = asked_otherwise(record, level);
  if (record.quality) json[kQuality] = to_json(*record.quality);
  if (record.quality_first) json[kQualityFirst] = to_json(*record.quality_first);
}

void load_quality(const nlohmann::json& json, const nlohmann::json& request, const ParseOptions& options,
                  Record& record) {
  if (const auto asked = json.find(kAsked); asked != json.end()) {
    nlohmann::json whole = request;
    whole.update(*asked);
    record.asked = parse(whole, options);
  }
  if (const auto quality = json.find(kQuality); quality != json.end()) record.quality = read_quality(*quality);
  if (const auto first = json.find(kQualityFirst); first != json.end()) record.quality_first = read_quality(*first);
}

/// Records of older versions call the digest of a header "sha256".
FileIdentity read_file(const nlohmann::json& file) {
  if (file.contains("digest"))
    return {.name = file.at("name"),
            .size = file.at("size"),
            .digest = file.at("digest"),
            .part = file.value("part", ""),
            .rule = file.value("found", "")};
  return {file.at("name"), file.at("size"), kHeaderDigest + file.at("sha256").get<std::string>()};
}

/// Every whole request has a prompt, though it may be empty.
void refuse_minimal(const nlohmann::json& request, const std::string& field) {
  if (!request.is_object() || request.contains("prompt")) return;
  const auto level = request.find("metadata");
  if (level != request.end() && *level == "minimal")
    throw InvalidRequest(field,
                         "must hold its whole request, was written with --metadata minimal, without prompt and "
                         "names; only --metadata full can be replayed");
}

}  // namespace

Record make_record(const Request& request, const Placement& placement, std::vector<FileIdentity> files,
                   InputIdentities inputs) {
  return {.version = version(),
          .request = request,
          .device = word(placement.device),
          .dtype = placement.dtype == at::kBFloat16 ? "bf16" : "float32",
          .noise_device = word(placement.noise),
          .vae_dtype = placement.vae == at::kHalf ? "float16" : "float32",
          .vae_tiles = {},
          .rotation = is_int8(placement.precision) ? kRotation : "",
          .attention = {},
          .skipped = {},
          .reused_steps = {},
          .drawing = {},
          .safety = {},
          .files = std::move(files),
          .inputs = std::move(inputs)};
}

std::vector<FileIdentity> joined(std::vector<FileIdentity> files, const std::vector<FileIdentity>& more) {
  files.insert(files.end(), more.begin(), more.end());
  std::sort(files.begin(), files.end(), [](const FileIdentity& a, const FileIdentity& b) { return a.name < b.name; });
  return files;
}

Metadata metadata_of(const Request& request) {
  return request.metadata == "none"      ? Metadata::None
         : request.metadata == "minimal" ? Metadata::Minimal
                                         : Metadata::Full;
}

std::string to_text(const Record& record, Metadata level) {
  if (level == Metadata::None) return "";
  nlohmann::ordered_json json = {{"wan_infer", record.version},
                                 {"request", stored_request(record.request, level)},
                                 {"device", record.device},
                                 {"dtype", record.dtype},
                                 {"noise_device", record.noise_device},
                                 {"vae_dtype", record.vae_dtype}};
  store_tiles(record, json);
  if (!record.expanded_prompt.empty() && level == Metadata::Full) json[kExpandedPrompt] = record.expanded_prompt;
  if (!record.rotation.empty()) json["rotation"] = record.rotation;
  if (!record.attention.empty()) json["attention"] = record.attention;
  if (record.skipped.all > 0) json[kSkippedBlocks] = {{"skipped", record.skipped.skipped}, {"all", record.skipped.all}};
  if (!record.reused_steps.empty()) json[kReusedSteps] = record.reused_steps;
  if (const Interpolation how = interpolation_of(record.request); how.is_on())
    // Whether pairs stood still or were cut is known only when the file is written; the log says it.
    json["chain"] = chain_json(how, {0, {record.request.frames_per_second, 1}}, /*known=*/false, record.drawing);
  if (record.safety.is_there()) json["safety"] = to_json(record.safety, /*with_words=*/level == Metadata::Full);
  json["files"] = stored_files(record.files, level);
  if (!record.inputs.empty()) json["inputs"] = stored_inputs(record.inputs, level);
  store_quality(record, level, json);
  // Notes may quote names and words of the prompt.
  if (!record.notes.empty() && level == Metadata::Full) json["notes"] = to_json(record.notes);
  return json.dump();
}

Record parse_record(const std::string& text, const std::string& field) {
  try {
    const nlohmann::json json = parse_json(text, {.bytes = 16 << 20, .depth = 16, .values = 100'000});
    ParseOptions lenient{.need_model = false, .check_files = false, .need_expander = false};
    const nlohmann::json& request = json.at("request");  // not a copy: a stranger's may be deeper than the stack
    refuse_minimal(request, field);
    Record record{.version = json.at("wan_infer"),
                  .request = parse(request, lenient),
                  .device = json.at("device"),
                  .dtype = json.at("dtype"),
                  .noise_device = json.at("noise_device"),
                  .vae_dtype = json.value("vae_dtype", "float32"),
                  .vae_tiles = {},
                  .rotation = json.value("rotation", ""),
                  .attention = json.value("attention", std::map<std::string, std::string>()),
                  .skipped = {},
                  .reused_steps = json.value(kReusedSteps, std::map<std::string, std::vector<int64_t>>()),
                  .drawing = {},
                  .safety = {},
                  .files = {}};
    if (const auto blocks = json.find(kSkippedBlocks); blocks != json.end())
      record.skipped = {blocks->at("skipped"), blocks->at("all")};
    record.vae_tiles = read_tiles(json, record.vae_dtype, field);
    record.expanded_prompt = json.value(kExpandedPrompt, "");
    for (const nlohmann::json& file : json.at("files")) record.files.push_back(read_file(file));
    const auto inputs = json.find("inputs");
    if (inputs != json.end())
      for (const auto& [name, input] : inputs->items())
        record.inputs[name] = {input.at("name"), input.at("size"), input.at("sha256")};
    if (const auto said = json.find("safety"); said != json.end()) record.safety = read_safety(*said);
    if (const auto notes = json.find("notes"); notes != json.end()) record.notes = read_notes(*notes);
    load_quality(json, request, lenient, record);
    return record;
  } catch (const BrokenJson& broken) {
    throw InvalidRequest(field, std::string("holds no request of wan-infer: ") + broken.what());
  } catch (const nlohmann::json::exception&) {
    throw InvalidRequest(field, "holds no request of wan-infer that is whole; take a file that it wrote");
  }
}

}  // namespace wan
