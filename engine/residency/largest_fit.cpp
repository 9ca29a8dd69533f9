#include "engine/residency/largest_fit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/geometry.h"
#include "engine/residency/placed_blocks.h"
#include "engine/residency/vae_way.h"

namespace wan {

namespace {

std::string text_of(const Extent& extent) {
  return std::to_string(extent.width) + "x" + std::to_string(extent.height) + " with " + std::to_string(extent.frames) +
         (extent.frames == 1 ? " frame" : " frames");
}

/// The least that the device must hold of a network. Only a card has slots.
uint64_t least_of(const Workload& workload, const Machine& machine, Network network) {
  const auto found = workload.networks.find(network);
  if (found == workload.networks.end()) return 0;
  return machine.is_card && !found->second.blocks.empty() ? least_bytes(found->second) : found->second.device();
}

/// The same shape in at most so many pixels, sides multiples of 16.
Extent scaled(const Extent& extent, double area) {
  const double by = std::sqrt(area / double(extent.height * extent.width));
  const auto side = [&](int64_t whole) {
    return std::max<int64_t>(16, int64_t(std::floor(double(whole) * by / 16 + 0.01)) * 16);
  };
  return {extent.frames, side(extent.height), side(extent.width)};
}

std::optional<Extent> largest_size(const Workload& workload, const Machine& machine) {
  const double now = double(workload.extent.height * workload.extent.width);
  std::vector<double> areas = {double(area_of("720p")), double(area_of("580p")), double(area_of("480p"))};
  for (const double smaller : {300'000.0, 200'000.0, 130'000.0, 90'000.0, 60'000.0}) areas.push_back(smaller);
  for (const double area : areas) {
    const Extent extent = scaled(workload.extent, area);
    // On a card a larger one may fit: from some size on the VAE computes in tiles there (VaeWay).
    if (std::abs(area - now) > now * 0.01 && !shortage(workload, machine, extent)) return extent;
  }
  return std::nullopt;
}

std::optional<Extent> most_frames(const Workload& workload, const Machine& machine) {
  if (workload.task == Task::S2V) return std::nullopt;  // the length of a clip is the model's
  Extent extent = workload.extent;
  for (extent.frames = (extent.frames - 1) / 4 * 4 + 1; extent.frames > 4;) {
    extent.frames -= 4;
    if (!shortage(workload, machine, extent)) return extent;
  }
  return std::nullopt;
}

bool is_of_vae(const Shortage& shortage) {
  return shortage.phase == "encode" || shortage.phase == "decode";
}

/// Throws InvalidRequest where a card takes tiles and the host has no room for the caches of the other tiles.
void check_tiles_on_host(const Workload& workload, const Machine& machine) {
  const Demand demand = demand_on(workload, machine, workload.extent);
  const uint64_t needed = kProgramBytes + std::max(demand.tiles_on_host, demand.encode_tiles_on_host);
  if (!machine.is_card || machine.stands_in || demand.vae_shared > 0 || machine.host_available >= needed) return;
  throw InvalidRequest("memory", "must have " + gigabytes(needed) + " of host memory for the VAE in tiles at " +
                                     text_of(workload.extent) + ", got " + gigabytes(machine.host_available) +
                                     " available; end other programs, or take a smaller size");
}

/// As much as a flag can say, and no more than `bytes`.
std::string flag_text(uint64_t bytes) {
  constexpr uint64_t kUnit = 10'000'000;
  return decimals(double(bytes / kUnit) / 100) + "GB";
}

/// What lets the VAE of a card compute in tiles where whole frames have no room in what is free: to call the card
/// smaller. Empty where that would not do.
std::string smaller_card(const Workload& workload, const Machine& machine, const Shortage& missing) {
  if (!machine.is_card || machine.stands_in || workload.in_tiles || !is_of_vae(missing)) return "";
  const std::string allowed = flag_text(machine.budget);
  Machine smaller = machine;
  limit_budget(smaller, *read_size(allowed));
  if (shortage(workload, smaller, workload.extent)) return "";
  return ", and --device-memory " + allowed + " lets the VAE compute in tiles, which have other last bits";
}

/// What takes less where no size or length fits.
std::string less_of(const Shortage& missing, const Machine& machine) {
  if (missing.phase == "denoise") return "--weights fp8 takes less";
  const std::string elsewhere = machine.is_card && !machine.stands_in ? "--device cpu takes nothing of the card"
                                                                      : "another machine, or less beside it";
  return missing.phase == "text" ? "a text encoder of fewer bits (--text-encoder FILE) takes less, " + elsewhere
                                 : elsewhere;
}

std::string device_text(const Machine& machine) {
  if (!machine.is_card) return gigabytes(machine.budget) + " free on " + machine.device;
  std::string text = gigabytes(machine.budget) + " of " + machine.device;
  if (machine.device_free > machine.budget) text += " (" + gigabytes(machine.device_free) + " free, less a margin)";
  return text;
}

}  // namespace

std::optional<Shortage> shortage(const Workload& workload, const Machine& machine, const Extent& extent) {
  const Demand demand = demand_on(workload, machine, extent);
  const auto less = [](uint64_t whole, uint64_t tiles) {
    return whole > 0 && tiles > 0 ? std::min(whole, tiles) : std::max(whole, tiles);
  };
  const auto least = [&](Network network) { return least_of(workload, machine, network); };
  const uint64_t transformer = std::max({least(Network::HighNoise), least(Network::LowNoise), least(Network::Speech)});
  const uint64_t vae = least(Network::Vae);
  const uint64_t encode = less(demand.encode, demand.encode_tiles), decode = less(demand.vae_shared, demand.vae_tiles);
  const uint64_t text = least(Network::TextEncoder) + demand.text;
  const std::vector<Shortage> needs = {{"text", workload.text_on_host && machine.is_card ? 0 : text},
                                       {"encode", encode > 0 ? vae + encode : 0},
                                       {"denoise", transformer + demand.denoise},
                                       {"decode", vae + decode + demand.interpolation}};
  const auto most = std::max_element(needs.begin(), needs.end(),
                                     [](const Shortage& a, const Shortage& b) { return a.bytes < b.bytes; });
  return most->bytes > machine.budget ? std::optional<Shortage>(*most) : std::nullopt;
}

std::string largest_fit(const Workload& workload, const Machine& machine) {
  std::string text;
  for (const auto& extent : {largest_size(workload, machine), most_frames(workload, machine)})
    if (extent) text += (text.empty() ? "" : ", or ") + text_of(*extent);
  return text;
}

void check_room(const Workload& workload, const Machine& machine) {
  if (machine.is_card && !machine.stands_in && machine.host_available < kProgramBytes)
    throw InvalidRequest("memory", "must have " + gigabytes(kProgramBytes) + " of host memory beside the card, got " +
                                       gigabytes(machine.host_available) +
                                       " available; end other programs, or raise the limit of the control group");
  const std::optional<Shortage> missing = shortage(workload, machine, workload.extent);
  if (!missing) return check_tiles_on_host(workload, machine);
  const std::string fits = largest_fit(workload, machine);
  const bool streams = machine.is_card && (missing->phase == "denoise" || missing->phase == "text");
  throw InvalidRequest(machine.budget_field,
                       "must hold " + gigabytes(missing->bytes) + " for " + missing->phase + " at " +
                           text_of(workload.extent) + (streams ? ", two blocks at a time" : "") + ", got " +
                           device_text(machine) + "; " +
                           (fits.empty() ? "no other size or length fits either: " + less_of(*missing, machine)
                                         : "the largest that fits is " + fits) +
                           smaller_card(workload, machine, *missing));
}

}  // namespace wan
