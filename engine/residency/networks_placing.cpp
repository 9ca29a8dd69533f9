// Which networks are on the device together, and how their blocks lie there.
#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/machine.h"
#include "engine/residency/networks.h"
#include "models/vae/tiles.h"

namespace wan {

namespace {

constexpr bool is_expert(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise;
}

/// Block memory that is counted as long as it is there.
std::shared_ptr<BlockMemory> counted_memory(DeviceBudget& budget, const std::string& what,
                                            const std::vector<uint64_t>& sizes, const BlockPlan& plan,
                                            at::Device device) {
  struct Counted {
    DeviceBudget::Lease lease;
    BlockMemory memory;
  };
  DeviceBudget::Lease lease = budget.take(block_bytes(sizes, plan), what);
  auto counted = std::make_shared<Counted>(Counted{std::move(lease), BlockMemory(sizes, plan, device)});
  return std::shared_ptr<BlockMemory>(counted, &counted->memory);
}

std::unique_ptr<CopyEngine> copy_engine(at::Device device, const Log& log) {
  if (!device.is_cuda()) return cpu_copy_engine();
  return cuda_copy_engine(device, [log](const std::string& text) { log("warning", {{"text", text}}); });
}

}  // namespace

Keep Networks::what_stays() {
  if (!placement_.budget)
    return all_fit(parts_, placement_, activations_.most(), available_memory(placement_.device)) ? Keep::All
                                                                                                 : Keep::One;
  for (const auto& [network, part] : parts_.networks)
    if (network != Network::AudioEncoder) sizes_of(network);
  return keep_for(sizes_, activations_.most(), activations_.denoise, placement_.budget->limit());
}

const NetworkSizes& Networks::sizes_of(Network network) {
  const auto known = sizes_.find(network);
  if (known != sizes_.end()) return known->second;
  return sizes_[network] = planned_bytes(network, parts_, place_of(network, placement_), placement_.vae).sizes;
}

uint64_t Networks::wide_vae_bytes() const {
  return planned_bytes(Network::Vae, parts_, place_of(Network::Vae, placement_), at::kFloat).sizes.outside;
}

bool Networks::stays_beside(Network network, Network other) const {
  if (other == network || other == Network::AudioEncoder) return true;
  return keep_ == Keep::Experts && is_expert(network) && is_expert(other);
}

void Networks::drop_others(Network network) {
  for (const auto& [other, part] : parts_.networks)
    if (!stays_beside(network, other)) drop(other);
}

void Networks::enter(Network network) {
  asked_ = network;
  // Branches are counted among the activations of a step.
  if (network == Network::TextEncoder || network == Network::Vae) adapt(network, {});
  if (!placement_.budget || network == Network::AudioEncoder || entered_ == network) return;
  look_again();
  look(network);
  // Blocks of two that lie in one memory would be copied at each step, however much is free by now.
  if (shares_memory_ && is_expert(network))
    drop(network == Network::HighNoise ? Network::LowNoise : Network::HighNoise);
  if (keep_ != Keep::All) drop_others(network);
}

void Networks::look_again() {
  entered_.reset();
  working_ = {};
}

void Networks::plan_for(const Activations& activations) {
  if (activations == activations_) return;
  activations_ = activations;
  look_again();
  if (!ran_out_) keep_ = what_stays();
  // Blocks that had no room beside larger jobs may have it now, though the limit is the same.
  for (auto& [network, limit] : placed_under_) limit = 0;
}

std::string Networks::now_and_planned() const {
  return gigabytes(placement_.budget->limit()) + " may be taken of the device now, " +
         gigabytes(placement_.budget->planned()) + " when the job began";
}

void Networks::look(Network network) {
  const auto tell = [&](const std::string& text) {
    log_("memory", {{"network", name(network)}, {"text", text + ": " + now_and_planned()}});
  };
  const bool in_tiles = chooses_tiles();
  const uint64_t least = least_bytes(sizes_of(network)) + working_of(network);
  if (!placement_.budget->look_again(least) || ran_out_) return;
  const Keep before = std::exchange(keep_, what_stays());
  if (keep_ != before)
    tell(keep_ == Keep::All       ? "all networks stay on the device"
         : keep_ == Keep::Experts ? "both experts stay on the device, other networks do not"
                                  : "one network at a time is on the device");
  if (network == Network::Vae && placement_.device.is_cpu() && chooses_tiles() != in_tiles)
    tell(in_tiles ? "the VAE computes on whole frames" : "the VAE computes in tiles");
}

bool Networks::lies_otherwise(Network network, uint64_t own) {
  const NetworkSizes& sizes = sizes_of(network);
  const auto kept = kept_.find(network);
  if (sizes.blocks.empty() || kept == kept_.end()) return false;
  const DeviceBudget& budget = *placement_.budget;
  const uint64_t others = budget.used() - own, room = budget.limit() - std::min(budget.limit(), others);
  if (own + working_of(network) > room) return true;
  const auto blocks = int64_t(sizes.blocks.size());
  if (kept->second == blocks || budget.limit() <= placed_under_[network]) return false;
  const std::optional<Lying> lying = lying_of(network, sizes, room);
  return lying && lying->blocks.kept > kept->second && 10 * (lying->blocks.kept - kept->second) >= blocks;
}

bool Networks::chooses_tiles() {
  if (!placement_.budget || activations_.vae_tiles == 0) return false;
  if (tiles_) return true;
  return keep_ != Keep::All && sizes_of(Network::Vae).device() + activations_.vae > placement_.budget->limit();
}

uint64_t Networks::working_of(Network network) {
  return network == Network::Vae && chooses_tiles() ? activations_.vae_tiles : activations_.of(network);
}

int64_t Networks::vae_tile_rows(at::ScalarType dtype) {
  if (const int64_t rows = settled_tiles_.of(dtype); rows > 0) return rows;
  return placement_.device.is_cpu() && chooses_tiles() ? vae::kTileRows : 0;
}

uint64_t Networks::vae_room() const {
  return placement_.budget ? placement_.budget->free() + working_.bytes() : available_memory(placement_.device);
}

void Networks::count_vae(uint64_t activations) {
  if (!placement_.budget) return;
  working_ = {};
  working_ = placement_.budget->take(activations, name(Network::Vae));
}

std::optional<Lying> Networks::lying_of(Network network, const NetworkSizes& sizes, uint64_t free) {
  const uint64_t taken = working_of(network);
  const auto most = most_kept_.find(network);
  if (taken > free) return std::nullopt;
  return lying_for(sizes, free - taken, most == most_kept_.end() ? INT64_MAX : most->second);
}

Networks::Placed Networks::placed_in(Network network, uint64_t free) {
  const NetworkSizes& own = sizes_of(network);
  const std::optional<Lying> alone = lying_of(network, own, free);
  // Room for what the other expert has outside of blocks, so that it can be brought in while this one computes.
  if (network == Network::HighNoise && keep_ == Keep::One && activations_.switches &&
      sizes_of(Network::LowNoise).blocks.size() == own.blocks.size()) {
    NetworkSizes both = joined(own, sizes_of(Network::LowNoise));
    const std::optional<Lying> shared = lying_of(network, both, free);
    if (shared && (!alone || is_worth_sharing(shared->blocks.kept, alone->blocks.kept, int64_t(own.blocks.size()))))
      return {std::move(both), shared, true};
  }
  return {own, alone, false};
}

void Networks::refuse(Network network) {
  const uint64_t working = working_of(network), weights = least_bytes(sizes_of(network));
  const DeviceBudget& budget = *placement_.budget;
  const std::string way_out =
      budget.limit() < budget.planned()
          ? " where " + gigabytes(budget.planned()) +
                " could be taken when the job began: another program has the "
                "rest. What was done is kept; the same command goes on from there once that memory is given back"
          : "; fewer frames or a smaller size need less";
  throw InvalidRequest(budget.field(),
                       "must be at least " + gigabytes(weights + working) + ": for the " + name(network) + " " +
                           gigabytes(weights) +
                           (sizes_of(network).blocks.empty() ? "" : " with two of its blocks at a time") + ", and " +
                           gigabytes(working) + " for what it computes; got " + gigabytes(budget.limit()) + way_out);
}

void Networks::share_host() {
  Machine machine;
  machine.is_card = true;
  // What the images have is available to them; what the CPU stands for takes the same memory.
  uint64_t available = available_memory(at::kCPU) + room_->used();
  if (placement_.device.is_cpu()) available -= std::min(available, placement_.budget->free());
  set_host(machine, available);
  const HostShare share = host_share(machine);
  room_->set_limits(share.images, share.pinnable);
}

void Networks::make_copier() {
  if (copier_) return;
  copier_ = std::make_shared<Copier>(copy_engine(placement_.device, log_));
  room_ = std::make_shared<HostRoom>(0);
}

std::optional<Streaming> Networks::place(Network network) {
  DeviceBudget& budget = *placement_.budget;
  // What the last network computes in will have gone.
  const Placed placed = placed_in(network, budget.free() + working_.bytes());
  if (is_expert(network)) shares_memory_ = placed.shares;
  if (!placed.lying) refuse(network);
  if (placed.sizes.blocks.empty()) return std::nullopt;
  const BlockPlan& blocks = placed.lying->blocks;
  if (budget.limit() != budget.planned()) {
    const std::optional<Lying> planned = placed_in(network, budget.planned()).lying;
    if (planned && planned->blocks.kept != blocks.kept)
      log_("memory", {{"network", name(network)},
                      {"text", std::to_string(blocks.kept) + " of " + std::to_string(placed.sizes.blocks.size()) +
                                   " blocks stay on the device, " + std::to_string(planned->blocks.kept) +
                                   " were planned: " + now_and_planned()}});
  }
  kept_[network] = blocks.kept;
  placed_under_[network] = budget.limit();
  make_copier();
  share_host();
  return Streaming{counted_memory(budget, name(network), device_sizes(placed.sizes), blocks, placement_.device),
                   copier_, room_};
}

}  // namespace wan
