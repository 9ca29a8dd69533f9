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
  return keep_for(sizes_, activations_.most(), activations_.denoise, placement_.budget->free());
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
  entered_.reset();
  working_ = {};
  if (keep_ != Keep::All) drop_others(network);
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

std::optional<Lying> Networks::lying_of(Network network, const NetworkSizes& sizes) {
  // What the last network computes in will have gone.
  const uint64_t taken = working_of(network), free = placement_.budget->free() + working_.bytes();
  const auto most = most_kept_.find(network);
  if (taken > free) return std::nullopt;
  return lying_for(sizes, free - taken, most == most_kept_.end() ? INT64_MAX : most->second);
}

std::optional<Lying> Networks::shared_lying(const NetworkSizes& both, const std::optional<Lying>& alone) {
  const std::optional<Lying> shared = lying_of(Network::HighNoise, both);
  if (!shared || !alone) return shared;
  const auto blocks = int64_t(both.blocks.size());
  return is_worth_sharing(shared->blocks.kept, alone->blocks.kept, blocks) ? shared : std::nullopt;
}

void Networks::refuse(Network network) {
  const uint64_t working = working_of(network), weights = least_bytes(sizes_of(network));
  throw InvalidRequest(placement_.budget->field(),
                       "must be at least " + gigabytes(weights + working) + ": for the " + name(network) + " " +
                           gigabytes(weights) +
                           (sizes_of(network).blocks.empty() ? "" : " with two of its blocks at a time") + ", and " +
                           gigabytes(working) + " for what it computes; got " + gigabytes(placement_.budget->limit()) +
                           "; fewer frames or a smaller size need less");
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
  const NetworkSizes& own = sizes_of(network);
  std::optional<Lying> lying = lying_of(network, own);
  NetworkSizes sizes = own;
  // Room for what the other expert has outside of blocks, so that it can be brought in while this one computes.
  if (network == Network::HighNoise && keep_ == Keep::One && activations_.switches &&
      sizes_of(Network::LowNoise).blocks.size() == own.blocks.size()) {
    NetworkSizes both = joined(own, sizes_of(Network::LowNoise));
    const std::optional<Lying> shared = shared_lying(both, lying);
    shares_memory_ = shared.has_value();
    if (shared) {
      sizes = std::move(both);
      lying = shared;
    }
  } else if (is_expert(network)) {
    shares_memory_ = false;
  }
  if (!lying) refuse(network);
  if (sizes.blocks.empty()) return std::nullopt;
  kept_[network] = lying->blocks.kept;
  make_copier();
  share_host();
  return Streaming{
      counted_memory(*placement_.budget, name(network), device_sizes(sizes), lying->blocks, placement_.device), copier_,
      room_};
}

}  // namespace wan
