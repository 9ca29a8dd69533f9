#include "engine/job/job.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/safety.h"
#include "models/files/digest.h"

namespace wan {

namespace {

using nlohmann::json;

/// 32 hexadecimal digits, as a work folder names files.
std::string digest(const json& values) {
  return sha256({values.dump()}).substr(0, 32);
}

json to_json(const std::vector<FileIdentity>& files) {
  json list = json::array();
  for (const FileIdentity& file : files) list.push_back({file.part, file.name, file.size, file.digest});
  return list;
}

/// What computes the job.
json networks_of(const Job& job) {
  const Record& record = job.record;
  json networks = {record.version, record.device, record.dtype, to_json(job.group->files)};
  if (!record.rotation.empty()) networks.push_back(record.rotation);
  return networks;
}

}  // namespace

std::string JobNames::content_of(const std::string& path) {
  return path.empty() || is_url(path) ? path : contents_.of(path).sha256;
}

std::string JobNames::key_of(const Request& request, bool with_seed, bool with_chain, bool with_safety) {
  json values = wan::to_json(request);
  if (!with_seed) values.erase("seed");
  if (!with_chain)
    for (const char* field : kChainFields) values.erase(field);
  // Of a request that looks at nothing they are idle.
  if (!with_safety || !(request.enable_safety_checker || request.enable_output_safety_checker))
    for (const char* field : kSafetyFields) values.erase(field);
  // However a path is spelled: the same command can go on from another folder.
  std::error_code ignored;  // a folder that cannot be is refused where it is opened
  for (const Parameter& parameter : parameters())
    if ((parameter.named || parameter.part || parameter.field == Field(&Request::interpolator) ||
         parameter.field == Field(&Request::safety_checker)) &&
        values.contains(parameter.name) && std::filesystem::exists(std::string(values[parameter.name]), ignored))
      values[parameter.name] = std::filesystem::canonical(std::string(values[parameter.name]), ignored).string();
  if (values.contains("loras"))
    for (json& lora : values["loras"])
      if (std::filesystem::exists(std::string(lora["path"]), ignored))
        lora["path"] = std::filesystem::canonical(std::string(lora["path"]), ignored).string();
  for (const Parameter& parameter : parameters())
    if (parameter.is_told_by_content() && values.contains(parameter.name)) try {
        values[parameter.name] = content_of(values[parameter.name]);
      } catch (const std::system_error& error) {
        const std::string path = values[parameter.name];
        throw InvalidRequest(parameter.name, "cannot be read: " + shown_path(path) + ": " + error.code().message());
      }
  return digest(values);
}

void JobNames::set_key(Job& job) {
  const std::string key = key_of(job.request), work = key_of(job.request, true, false, false);
  const json which = job.id.empty() ? json(equals_[key]++) : json(job.id);
  job.key = digest({key, which});
  job.work_key = digest({work, which});
}

void JobNames::set_names(Job& job) {
  const Request& request = job.request;
  const json networks = networks_of(job);
  json named = {job.work_key, networks, job.record.noise_device};
  if (!job.attention.empty()) named.push_back(job.attention);
  json tiles;  // of a replay: what its VAE is to compute in
  if (job.replayed_tiles) tiles = {"tiles", job.replayed_tiles->half, job.replayed_tiles->wide};
  if (!tiles.is_null()) named.push_back(tiles);
  if (job.replays_expansion) named.push_back(json::array({"expansion", job.expansion->text}));
  if (!job.loras->files.empty()) named.push_back(to_json(job.loras->files));
  job.name = digest(named);
  if (request.task == Task::S2V) {
    // Its pieces are encoded as they go, with what is drawn between their frames.
    const Interpolation how = interpolation_of(request);
    if (how.is_on())
      job.chain = digest({how.model, how.between, how.direct, to_json(job.interpolator->files)}).substr(0, 8);
    return;
  }
  set_prompt_name(job);
  if (job.schedule->guides()) job.negative = digest({networks, "prompt", request.negative_prompt});
  if (request.task == Task::T2V) return;
  json input = {networks,
                task_name(request.task),
                content_of(request.image_url),
                content_of(request.last_image_url),
                content_of(request.video_url),
                request.resolution,
                request.aspect_ratio,
                request.width,
                request.height,
                request.num_frames,
                request.num_frames_given,
                request.frames_per_second,
                request.resample_fps,
                request.deinterlace};
  if (!tiles.is_null()) input.push_back(tiles);
  job.input = digest(input);
}

void JobNames::set_prompt_name(Job& job) {
  const bool known = !job.schedule->empty() && !job.awaits_expansion();
  job.positive = known ? digest({networks_of(job), "prompt", job.prompt()}) : "";
}

}  // namespace wan
