#include "engine/residency/plan.h"

#include <algorithm>
#include <optional>

#include "engine/residency/activations.h"
#include "engine/residency/cost_model.h"
#include "engine/residency/largest_fit.h"
#include "engine/residency/network_time.h"

namespace wan {

namespace {

class Planner {
 public:
  Planner(const Workload& workload, const Machine& machine)
      : work_(workload), machine_(machine), demand_(demand_on(workload, machine, workload.extent)) {
    const HostShare share = host_share(machine);
    plan_.pinned_bytes = share.ring;
    host_ = share.images;
    pinnable_ = share.pinnable;
  }

  Plan make() {
    check_room(work_, machine_);
    choose_residents();
    choose_vae();
    text();
    if (has(Network::AudioEncoder)) sound();
    if (demand_.encode + demand_.encode_tiles > 0) {
      const bool tiles = demand_.encode == 0 || (demand_.encode_tiles > 0 && !has_room_for_vae(demand_.encode));
      vae_phase("encode", tiles ? demand_.encode_tiles : demand_.encode, demand_.encode_work,
                tiles ? std::optional(InTiles{demand_.encode_tiles_on_host, demand_.encode_tile_work}) : std::nullopt);
    }
    if (has(Network::Speech))
      speech();
    else
      experts();
    const bool tiles = plan_.vae == VaeWay::Tiles;
    vae_phase("decode", vae_bytes_of(plan_.vae) + demand_.interpolation, demand_.decode_work * double(work_.clips),
              tiles ? std::optional(InTiles{demand_.tiles_on_host, demand_.tile_work}) : std::nullopt);
    for (PhasePlan& phase : plan_.phases) finish(phase);
    return std::move(plan_);
  }

 private:
  bool has(Network network) const { return work_.networks.contains(network); }
  const NetworkSizes& sizes(Network network) const { return work_.networks.at(network); }
  uint64_t whole(Network network) const {
    return has(network) && network != Network::AudioEncoder ? sizes(network).device() : 0;
  }
  uint64_t vae_bytes_of(VaeWay way) const {
    return way == VaeWay::Own ? demand_.vae_own : way == VaeWay::Shared ? demand_.vae_shared : demand_.vae_tiles;
  }

  /// What lies on the device in more than one phase.
  void choose_residents() {
    const uint64_t working = activations_of(work_, demand_).most();
    const Keep keep = keep_for(work_.networks, working, demand_.denoise, machine_.budget);
    plan_.keeps_all = keep == Keep::All;
    plan_.keeps_experts = has(Network::HighNoise) && keep != Keep::One;
    if (plan_.keeps_all)
      for (const auto& [network, unused] : work_.networks) resident_ += whole(network);
  }

  bool has_room_for_vae(uint64_t bytes) const {
    return (plan_.keeps_all ? resident_ : whole(Network::Vae)) + bytes <= machine_.budget;
  }

  void choose_vae() {
    for (const VaeWay way : {VaeWay::Own, VaeWay::Shared, VaeWay::Tiles}) {
      plan_.vae = way;
      if (const uint64_t bytes = vae_bytes_of(way); bytes > 0 && has_room_for_vae(bytes + demand_.interpolation))
        return;
    }
  }

  PhasePlan& begin(const char* name, uint64_t activations) {
    PhasePlan phase;
    phase.name = name;
    phase.activations = activations;
    plan_.phases.push_back(phase);
    return plan_.phases.back();
  }

  /// A network that works alone, beside `activations`; nothing where it has no room.
  std::optional<NetworkPlan> place(const NetworkSizes& network, uint64_t activations) const {
    if (plan_.keeps_all || !machine_.is_card) return place_network(network, {UINT64_MAX, 0, 0});
    if (activations > machine_.budget) return std::nullopt;
    const Room room{machine_.budget - activations, host_, pinnable_};
    if (network.device() > room.device && (network.blocks.empty() || least_bytes(network) > room.device))
      return std::nullopt;
    return place_network(network, room);
  }

  double load_of(const NetworkSizes& network, const NetworkPlan& placed) const {
    return loading_time(network, placed, machine_);
  }
  double seconds(const Work& work, bool eight_bit = false) const { return seconds_of(work, machine_, eight_bit); }

  /// Forwards through a network that is there; `block` of each block, `rest` outside of them.
  void run(PhasePlan& phase, const NetworkSizes& network, const NetworkPlan& placed, double block, double rest,
           int64_t forwards) const {
    const StreamingTime time = streaming_time(streaming_of(network, placed, machine_, block, rest), forwards);
    phase.streamed_bytes = streamed_bytes(network, placed) * uint64_t(forwards);
    phase.compute_seconds = time.compute;
    phase.copy_seconds = time.copy;
    phase.seconds = time.seconds;
    phase.hidden = time.hidden;
  }

  void text() {
    const NetworkSizes& network = sizes(Network::TextEncoder);
    PhasePlan& phase = begin("text", demand_.text);
    const double blocks = double(std::max<size_t>(network.blocks.size(), 1));
    if (const auto placed = place(network, demand_.text)) {
      phase.networks.push_back(*placed);
      phase.load_seconds = load_of(network, *placed);
      constexpr int64_t kPasses = 2;  // one for each prompt
      run(phase, network, *placed, seconds(demand_.text_work) / blocks / kPasses, 0, kPasses);
    } else {
      NetworkPlan host;
      host.network = Network::TextEncoder;
      host.residency = Residency::Host;
      host.blocks = int64_t(network.blocks.size());
      host.host_bytes = network.file();
      phase.networks.push_back(host);
      phase.activations = 0;
      phase.load_seconds = double(network.file()) / machine_.disk;
      phase.compute_seconds = phase.seconds = demand_.text_work.linear / machine_.host_linear;
    }
  }

  void sound() {
    const NetworkSizes& network = sizes(Network::AudioEncoder);
    PhasePlan& phase = begin("sound", 0);
    NetworkPlan host;
    host.network = Network::AudioEncoder;
    host.residency = Residency::Host;
    host.host_bytes = network.file();
    phase.networks.push_back(host);
    phase.load_seconds = double(network.file()) / machine_.disk;
  }

  /// What tiles keep on the host, and their arithmetic against that of whole frames.
  struct InTiles {
    uint64_t on_host;
    double work;
  };

  void vae_phase(const char* name, uint64_t activations, const Work& work, const std::optional<InTiles>& tiles) {
    PhasePlan& phase = begin(name, activations);
    const NetworkSizes& network = sizes(Network::Vae);
    NetworkPlan whole;
    whole.network = Network::Vae;
    whole.device_bytes = network.device();
    phase.networks.push_back(whole);
    phase.load_seconds = loaded_vae_ ? 0 : load_of(network, whole);
    loaded_vae_ = plan_.keeps_all;
    phase.compute_seconds = phase.seconds = seconds(work) * (tiles ? tiles->work : 1);
    phase.in_tiles = tiles.has_value();
    if (!tiles) return;
    phase.networks.back().host_bytes = tiles->on_host;
    const double times = 2 * double((work_.extent.frames + 3) / 4 * work_.clips);  // to the device and back
    phase.streamed_bytes = uint64_t(times * double(tiles->on_host));
    phase.copy_seconds = double(phase.streamed_bytes) / machine_.link_pageable;
    phase.seconds += phase.copy_seconds;
    phase.hidden = false;
  }

  /// The steps of a transformer whose weights lie as `placed` says; forwards that reuse a residual need none of its blocks.
  void steps(PhasePlan& phase, const NetworkSizes& network, const NetworkPlan& placed, int64_t count, int64_t forwards,
             int64_t reused) const {
    if (count == 0) return;
    const double branches = double(forwards) / double(count), rest = seconds(demand_.rest);
    run(phase, network, placed, branches * seconds(demand_.block, work_.eight_bit), branches * rest, count);
    phase.compute_seconds += double(reused) * rest;
    phase.seconds += double(reused) * rest;
  }

  void speech() {
    const NetworkSizes& network = sizes(Network::Speech);
    PhasePlan& phase = begin("speech", demand_.denoise);
    const NetworkPlan placed = *place(network, demand_.denoise);
    phase.networks.push_back(placed);
    steps(phase, network, placed, work_.low_steps * work_.clips, work_.low_forwards * work_.clips,
          work_.low_reused * work_.clips);
    phase.load_seconds = load_of(network, placed);
    const bool stays =
        plan_.keeps_all || network.device() + sizes(Network::Vae).device() +
                                   std::max(demand_.denoise, vae_bytes_of(plan_.vae) + demand_.interpolation) <=
                               machine_.budget;
    if (!stays) phase.load_seconds *= double(work_.clips);
  }

  void experts() {
    const NetworkSizes& high = sizes(Network::HighNoise);
    const NetworkSizes& low = sizes(Network::LowNoise);
    PhasePlan first = expert_phase(Network::HighNoise, high, work_.high_steps, work_.high_forwards, work_.high_reused);
    PhasePlan second = expert_phase(Network::LowNoise, low, work_.low_steps, work_.low_forwards, work_.low_reused);
    const bool both = work_.high_steps > 0 && work_.low_steps > 0;
    if (both && !plan_.keeps_experts && machine_.is_card) move_into_place(high, low, first, second);
    if (plan_.keeps_experts && both) {
      first.networks.push_back(second.networks[0]);
      second.networks.push_back(first.networks[0]);
      second.load_seconds = std::max(0.0, second.load_seconds - first.seconds);
    }
    if (work_.high_steps > 0) plan_.phases.push_back(first);
    if (work_.low_steps > 0) plan_.phases.push_back(second);
  }

  PhasePlan expert_phase(Network network, const NetworkSizes& sizes, int64_t count, int64_t forwards,
                         int64_t reused) const {
    PhasePlan phase;
    phase.name = network == Network::HighNoise ? "high_noise" : "low_noise";
    phase.activations = demand_.denoise;
    const NetworkPlan placed = *place(sizes, demand_.denoise);
    phase.networks.push_back(placed);
    phase.load_seconds = load_of(sizes, placed);
    steps(phase, sizes, placed, count, forwards, reused);
    return phase;
  }

  /// The low-noise expert's blocks come into the memory of the high-noise one's during its last forward, where both have
  /// room in one set of slots.
  void move_into_place(const NetworkSizes& high, const NetworkSizes& low, PhasePlan& first, PhasePlan& second) {
    if (high.blocks.size() != low.blocks.size()) return;
    const auto shared = place(joined(high, low), demand_.denoise);
    if (!shared || !is_worth_sharing(shared->kept_blocks, first.networks[0].kept_blocks, shared->blocks)) return;
    plan_.prefetches_expert = true;
    const auto placed_as = [&](Network network) {
      NetworkPlan placed = *shared;
      placed.network = network;
      return placed;
    };
    first.networks = {placed_as(Network::HighNoise)};
    second.networks = {placed_as(Network::LowNoise)};
    second.networks[0].device_bytes -= high.outside;  // went with the high-noise expert
    steps(first, high, first.networks[0], work_.high_steps, work_.high_forwards, work_.high_reused);
    steps(second, low, second.networks[0], work_.low_steps, work_.low_forwards, work_.low_reused);
    first.load_seconds = load_of(high, first.networks[0]);
    // Its file is read ahead into host memory during the steps before, where that has room for it.
    const bool ahead = low.file() + first.networks[0].host_bytes <= host_;
    const double last = first.seconds / double(work_.high_steps);
    double load = load_of(low, second.networks[0]);
    if (ahead) load = std::max(load - first.seconds, double(low.device()) / machine_.link_pageable);
    second.load_seconds = std::max(0.0, load - last);
  }

  void finish(PhasePlan& phase) {
    phase.seconds += phase.load_seconds;
    plan_.seconds += phase.seconds;
    phase.device_bytes = phase.activations;
    if (plan_.keeps_all) phase.device_bytes += resident_;
    for (const NetworkPlan& network : phase.networks) {
      if (!plan_.keeps_all) phase.device_bytes += network.device_bytes;
      phase.host_bytes += network.host_bytes;
    }
    phase.host_bytes += plan_.pinned_bytes;
  }

  const Workload& work_;
  const Machine& machine_;
  const Demand demand_;
  Plan plan_;
  uint64_t host_ = 0, pinnable_ = 0;  // for images of blocks
  uint64_t resident_ = 0;             // of all networks, where all stay
  bool loaded_vae_ = false;
};

}  // namespace

uint64_t Plan::device_bytes() const {
  uint64_t most = 0;
  for (const PhasePlan& phase : phases) most = std::max(most, phase.device_bytes);
  return most;
}

const PhasePlan* Plan::phase(const std::string& name) const {
  for (const PhasePlan& phase : phases)
    if (phase.name == name) return &phase;
  return nullptr;
}

Plan plan(const Workload& workload, const Machine& machine) {
  return Planner(workload, machine).make();
}

}  // namespace wan
