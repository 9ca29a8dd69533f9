#include "tools/cli/plan_output.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/text.h"
#include "engine/base/units.h"

namespace wan {

namespace {

template <class... Values>
std::string line(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

double in_gigabytes(uint64_t bytes) {
  return double(bytes) / 1e9;
}

std::string blocks_text(const NetworkPlan& network) {
  return std::to_string(network.kept_blocks) + " of " + std::to_string(network.blocks) + " blocks stay, " +
         std::to_string(network.slots) + " slots";
}

/// What lies where in a phase.
std::string lies(const PhasePlan& phase) {
  std::string text;
  for (const NetworkPlan& network : phase.networks) {
    if (!text.empty()) text += "; ";
    text += name(network.network);
    if (network.residency == Residency::Host) text += " on the host";
    if (network.network == Network::Vae && phase.in_tiles) text += " in tiles, copies of their caches seen";
    if (network.residency != Residency::Streamed) continue;
    text += ": " + blocks_text(network);
    text += phase.hidden ? ", copies hidden" : ", copies seen";
    const int64_t read = network.blocks - network.kept_blocks - network.held_images;
    if (read > 0) text += ", " + std::to_string(read) + " read from disk at each use";
  }
  return text;
}

std::string machine_text(const Machine& machine) {
  std::string text = machine.device + ": " + gigabytes(machine.budget) + " to take";
  if (machine.is_card && machine.device_free > machine.budget)
    text += " of " + gigabytes(machine.device_free) + " free";
  if (machine.has_display) text += ", beside a display";
  text += "; host " + gigabytes(machine.host_available);
  if (machine.is_card) text += ", link " + rate_text(machine.link);
  return text + ", disk " + rate_text(machine.disk) + "\n";
}

nlohmann::ordered_json to_json(const NetworkPlan& network) {
  return {{"network", name(network.network)},
          {"residency", residency_name(network.residency)},
          {"blocks", network.blocks},
          {"kept_blocks", network.kept_blocks},
          {"slots", network.slots},
          {"held_images", network.held_images},
          {"pinned_images", network.pinned_images},
          {"device_bytes", network.device_bytes},
          {"host_bytes", network.host_bytes}};
}

nlohmann::ordered_json to_json(const PhasePlan& phase) {
  nlohmann::ordered_json networks = nlohmann::ordered_json::array();
  for (const NetworkPlan& network : phase.networks) networks.push_back(to_json(network));
  return {{"name", phase.name},
          {"networks", networks},
          {"activations", phase.activations},
          {"device_bytes", phase.device_bytes},
          {"host_bytes", phase.host_bytes},
          {"streamed_bytes", phase.streamed_bytes},
          {"load_seconds", phase.load_seconds},
          {"compute_seconds", phase.compute_seconds},
          {"copy_seconds", phase.copy_seconds},
          {"seconds", phase.seconds},
          {"hidden", phase.hidden}};
}

nlohmann::ordered_json to_json(const Machine& machine) {
  return {{"device", machine.device},
          {"described", machine.described},
          {"device_total", machine.device_total},
          {"device_free", machine.device_free},
          {"has_display", machine.has_display},
          {"budget", machine.budget},
          {"host_available", machine.host_available},
          {"host_pinnable", machine.host_pinnable},
          {"link", machine.link},
          {"disk", machine.disk},
          {"linear", machine.linear},
          {"attention", machine.attention},
          {"bandwidth", machine.bandwidth},
          {"assumed", machine.assumed}};
}

}  // namespace

std::string way_of(const Plan& plan) {
  if (plan.keeps_all) return "everything stays";
  if (plan.keeps_experts) return "both experts stay";
  for (const PhasePlan& phase : plan.phases)
    for (const NetworkPlan& network : phase.networks)
      if (network.residency == Residency::Streamed && network.network != Network::TextEncoder)
        return blocks_text(network);
  return plan.prefetches_expert ? "one expert, the other moves in" : "one network at a time";
}

std::string to_text(const JobPlan& made) {
  const Plan& plan = made.plan;
  const Extent& extent = made.workload.extent;
  std::string text = machine_text(made.machine);
  text += line("%ldx%ld, %ld frames: ", long(extent.width), long(extent.height), long(extent.frames)) + way_of(plan) +
          (plan.vae == VaeWay::Tiles ? "; VAE in " : "; VAE with ") + vae_way_name(plan.vae) + "\n\n";
  text += "phase         card GB  host GB  streamed GB  load s  total s  where the weights lie\n";
  for (const PhasePlan& phase : plan.phases)
    text +=
        line("%-12s %8.2f %8.2f %12.1f %7.1f %8.1f  ", phase.name.c_str(), in_gigabytes(phase.device_bytes),
             in_gigabytes(phase.host_bytes), in_gigabytes(phase.streamed_bytes), phase.load_seconds, phase.seconds) +
        lies(phase) + "\n";
  text += line("%-12s %8.2f %39.1f  ", "in all", in_gigabytes(plan.device_bytes()), plan.seconds) +
          duration(plan.seconds) + ", computed and not measured\n";
  if (plan.prefetches_expert) text += "The low-noise expert comes in during the last high-noise step.\n";
  for (const CachePlan& copy : made.cache)
    text += line("Cache: the %s takes %.2f GB as %s, %.2f GB in its own files; ", name(copy.network),
                 in_gigabytes(copy.bytes), copy.form.c_str(), in_gigabytes(copy.source_bytes)) +
            (copy.is_there ? "it is there.\n" : "it is written when it is first loaded.\n");
  for (const std::string& sentence : plan.advice) text += "Faster: " + sentence + ".\n";
  for (const std::string& sentence : made.machine.assumed) text += "Assumed: " + sentence + ".\n";
  return text;
}

nlohmann::ordered_json to_json(const JobPlan& made) {
  const Plan& plan = made.plan;
  nlohmann::ordered_json phases = nlohmann::ordered_json::array();
  for (const PhasePlan& phase : plan.phases) phases.push_back(to_json(phase));
  nlohmann::ordered_json cache = nlohmann::ordered_json::array();
  for (const CachePlan& copy : made.cache)
    cache.push_back({{"network", name(copy.network)},
                     {"form", copy.form},
                     {"bytes", copy.bytes},
                     {"source_bytes", copy.source_bytes},
                     {"is_there", copy.is_there}});
  return {{"fits", true},
          {"machine", to_json(made.machine)},
          {"frames", made.workload.extent.frames},
          {"width", made.workload.extent.width},
          {"height", made.workload.extent.height},
          {"keeps_all", plan.keeps_all},
          {"keeps_experts", plan.keeps_experts},
          {"prefetches_expert", plan.prefetches_expert},
          {"vae", vae_way_name(plan.vae)},
          {"pinned_bytes", plan.pinned_bytes},
          {"device_bytes", plan.device_bytes()},
          {"seconds", plan.seconds},
          {"phases", phases},
          {"cache", cache},
          {"advice", plan.advice}};
}

}  // namespace wan
