#include "engine/job/record.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/version.h"
#include "models/files/digest.h"
#include "models/files/error.h"

namespace wan {

namespace {

std::string word(at::Device device) {
  return device.is_cuda() ? "cuda" : "cpu";
}

constexpr const char* kDigest = "data:,";
constexpr size_t kDigestLetters = 6 + 64;

/// A data URL is the input itself, which can be larger than the video: its digest stands for it, also in a record that
/// was read back.
nlohmann::ordered_json named_inputs(nlohmann::ordered_json request) {
  for (const Parameter& parameter : parameters()) {
    if (!parameter.media || !request.contains(parameter.name)) continue;
    const std::string url = request[parameter.name];
    if (url.starts_with("data:") && !(url.starts_with(kDigest) && url.size() == kDigestLetters))
      request[parameter.name] = kDigest + sha256({url});
  }
  return request;
}

}  // namespace

std::vector<FileIdentity> identities(const ModelFolder& folder) {
  std::vector<FileIdentity> files;
  for (const std::filesystem::path& file : folder.files()) files.push_back(identify(folder.root, file));
  return files;
}

Record make_record(const Request& request, const Placement& placement, std::vector<FileIdentity> files) {
  return {.version = version(),
          .request = request,
          .device = word(placement.device),
          .dtype = placement.dtype == at::kBFloat16 ? "bf16" : "float32",
          .noise_device = word(placement.noise),
          .vae_dtype = placement.vae == at::kHalf ? "float16" : "float32",
          .attention = {},
          .files = std::move(files)};
}

std::string to_text(const Record& record) {
  nlohmann::ordered_json json = {{"wan_infer", record.version},
                                 {"request", named_inputs(to_json(record.request))},
                                 {"device", record.device},
                                 {"dtype", record.dtype},
                                 {"noise_device", record.noise_device},
                                 {"vae_dtype", record.vae_dtype}};
  if (!record.attention.empty()) json["attention"] = record.attention;
  json["files"] = nlohmann::ordered_json::array();
  for (const FileIdentity& file : record.files)
    json["files"].push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  return json.dump();
}

Record parse_record(const std::string& text, const std::string& field) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    ParseOptions lenient{.need_model = false, .check_files = false};
    const nlohmann::json& request = json.at("request");  // not a copy: a stranger's may be deeper than the stack
    Record record{.version = json.at("wan_infer"),
                  .request = parse(request, lenient),
                  .device = json.at("device"),
                  .dtype = json.at("dtype"),
                  .noise_device = json.at("noise_device"),
                  .vae_dtype = json.value("vae_dtype", "float32"),
                  .attention = json.value("attention", std::map<std::string, std::string>()),
                  .files = {}};
    for (const nlohmann::json& file : json.at("files"))
      record.files.push_back({file.at("name"), file.at("size"), file.at("sha256")});
    return record;
  } catch (const nlohmann::json::exception& error) {
    throw InvalidRequest(field, std::string("holds no request of wan-infer: ") + error.what());
  }
}

void check_same_files(const Record& record, const ModelFolder& folder) {
  std::string others;
  auto note = [&](const std::string& text) { others += (others.empty() ? "" : ", ") + text; };
  std::vector<FileIdentity> here = identities(folder);
  for (const FileIdentity& want : record.files) {
    auto same_name = [&](const FileIdentity& file) { return file.name == want.name; };
    auto found = std::find_if(here.begin(), here.end(), same_name);
    if (found == here.end())
      note(want.name + " is absent");
    else if (found->size != want.size)
      note(want.name + " has " + std::to_string(found->size) + " bytes and had " + std::to_string(want.size));
    else if (found->sha256 != want.sha256)
      note(want.name + " has another header");
  }
  if (!others.empty())
    throw ModelError(folder.root.string(),
                     "is not the model this was made with: " + others + "; --model names another folder");
}

}  // namespace wan
