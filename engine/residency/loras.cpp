#include "engine/residency/loras.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/lora_expert.h"
#include "engine/request/lora_scales.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/open_network.h"
#include "engine/residency/short_names.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kField = "loras";

/// The transformers that a LoRA is for.
std::vector<Network> networks_for(const Lora& lora, const lora::Halves& halves, Task task) {
  if (task == Task::S2V) return {Network::Speech};
  const Experts experts = experts_of(lora, {halves.high, halves.low});
  std::vector<Network> networks;
  if (experts.high) networks.push_back(Network::HighNoise);
  if (experts.low) networks.push_back(Network::LowNoise);
  return networks;
}

/// Which part of a file of diffusers for two experts is a transformer's.
std::optional<lora::Half> half_of(Network network) {
  if (network == Network::HighNoise) return lora::Half::High;
  return network == Network::LowNoise ? std::optional(lora::Half::Low) : std::nullopt;
}

/// What says that a file that @ puts on an expert is for the other one: "name", "keys"; empty: nothing does.
std::string other_by(const Lora& lora, const lora::Halves& halves, Network network) {
  if (lora.transformer.empty() || lora.transformer == "both") return "";
  if (halves.low) return !halves.high && network == Network::HighNoise ? "keys" : "";
  const auto level = noise_level({lora.path, fs::path(lora.path).filename().string(), ""});
  return level && level_of(network) && level != level_of(network) ? "name" : "";
}

}  // namespace

Loras::Loras(const Request& request, const ModelParts& parts) {
  std::vector<fs::path> paths;
  for (const Lora& lora : request.loras) paths.emplace_back(lora.path);
  const std::vector<std::string> names = short_names(paths);
  for (size_t i = 0; i < names.size(); ++i) add(request.loras[i], names[i], request, parts);
}

void Loras::add(const Lora& lora, const std::string& name, const Request& request, const ModelParts& parts) {
  const LoraScales scales(request);
  const StoredTensors all = read_tensors(MappedFile::open(lora.path));
  const lora::Halves halves = lora::halves_of(all);
  const std::vector<Network> networks = networks_for(lora, halves, request.task);
  std::error_code ignored;
  for (const Network network : networks) {
    std::vector<Use>& uses = uses_[network];
    for (const Use& other : uses)
      if (fs::equivalent(other.file->label(), lora.path, ignored))
        throw InvalidRequest(kField, "must name each file once for a transformer, and " + shown_path(lora.path) +
                                         " comes twice for the " + wan::name(network) + "; add its scales up");
    check_scales(lora, scales, network == Network::HighNoise, wan::name(network));
    const Checkpoint transformer = open_network(network, parts);
    const std::optional<lora::Half> half = half_of(network);
    auto file = std::make_shared<const lora::File>(
        lora::File::open(lora.path, transformer.tensors(), {.lax = request.lora_lax, .half = half}));
    const size_t left_out = half && networks.size() == 1 ? all.size() - lora::half_of(all, *half).size() : 0;
    uses.push_back({std::move(file), name, lora.scales, other_by(lora, halves, network), left_out});
  }
}

StepAdapters Loras::in_steps(const Request& request) const {
  if (empty()) return {};
  return [uses = uses_, scales = LoraScales(request)](const Step& step) {
    const bool speech = uses.contains(Network::Speech);
    std::vector<lora::Adapter> adapters;
    const auto found = uses.find(speech ? Network::Speech : step.high ? Network::HighNoise : Network::LowNoise);
    if (found == uses.end()) return adapters;
    for (const Use& use : found->second)
      if (const double strength = scales.at(use.scales, step); strength != 0) adapters.push_back({use.file, strength});
    return adapters;
  };
}

uint64_t Loras::bytes(at::ScalarType compute) const {
  uint64_t most = 0;
  for (const auto& [network, uses] : uses_) {
    uint64_t bytes = 0;
    for (const Use& use : uses) bytes += lora::attached_bytes(*use.file, compute);
    most = std::max(most, bytes);
  }
  return most;
}

lora::BranchWork Loras::work(at::ScalarType compute) const {
  lora::BranchWork most;  // one branch at a time
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      const lora::BranchWork work = lora::branch_work(*use.file, compute);
      most = {std::max(most.bytes, work.bytes), std::max(most.values, work.values)};
    }
  return most;
}

double Loras::flops() const {
  double most = 0;
  for (const auto& [network, uses] : uses_) {
    std::vector<std::shared_ptr<const lora::File>> files;
    for (const Use& use : uses) files.push_back(use.file);
    most = std::max(most, lora::attached_flops(files));
  }
  return most;
}

void Loras::check_finite(lora::Reading reading) const {
  std::set<std::pair<std::string, std::string>> seen;  // files, and where one is for two experts, which half of it
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses)
      if (const auto& all = use.file->differences(); !all.empty())
        if (seen.insert({use.file->label(), all[0].factors.begin()->second}).second) use.file->check_finite(reading);
}

void Loras::tell(const Log& log) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) log("lora", lora_fields(*use.file, use.name, name(network), use.scales));
}

}  // namespace wan
