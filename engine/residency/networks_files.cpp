// From which files networks are loaded, and when they are read ahead.
#include <chrono>
#include <optional>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/networks.h"
#include "engine/residency/open_network.h"
#include "engine/residency/weight_cache.h"
#include "models/files/error.h"

namespace wan {

Checkpoint Networks::open(Network network) {
  Checkpoint own = open_network(network, parts_);
  if (placement_.cache_dir.empty() || !is_kept_once_more(network)) return own;
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kBetweenLines(10);
  std::optional<Clock::time_point> told;
  const CacheStep step = [&](const std::filesystem::path& file, uint64_t bytes, int64_t finished, int64_t all) {
    if (check_) check_();
    if (told && finished < all && Clock::now() < *told + kBetweenLines) return;
    told = Clock::now();
    log_("cache", {{"network", name(network)},
                   {"file", shown_name(file.string())},
                   {"file_bytes", bytes},
                   {"tensors", finished},
                   {"of", all}});
  };
  std::optional<CachedCopy> copy = cached(network, parts_.networks.at(network), own, place_of(network, placement_),
                                          /*merged=*/false, placement_.cache_dir, identities_, cache_notes_, step);
  return copy ? std::move(copy->checkpoint) : std::move(own);
}

bool Networks::is_loaded(Network network) const {
  switch (network) {
    case Network::TextEncoder:
      return text_encoder_.model != nullptr;
    case Network::AudioEncoder:
      return audio_encoder_.model != nullptr;
    case Network::HighNoise:
      return high_.model != nullptr;
    case Network::LowNoise:
      return low_.model != nullptr;
    case Network::Speech:
      return speech_.model != nullptr;
    case Network::Vae:
      return vae_.model != nullptr || wide_vae_.model != nullptr;
  }
  return false;
}

bool Networks::keeps_transformers() const {
  if (keep_ != Keep::All) return false;
  for (const auto& [network, part] : parts_.networks)
    if (is_kept_once_more(network) && !is_loaded(network)) return false;
  return true;
}

void Networks::read_ahead(Network network) {
  if (!placement_.budget || is_loaded(network) || ahead_.contains(network)) return;
  make_copier();
  share_host();
  const uint64_t limit = room_->free();
  if (limit == 0) return;
  std::vector<RingFile> files;
  try {
    const Checkpoint own = open_network(network, parts_);
    std::optional<CachedCopy> copy;
    if (!placement_.cache_dir.empty() && is_kept_once_more(network))
      copy = copy_there(network, parts_.networks.at(network), own, place_of(network, placement_), /*merged=*/false,
                        placement_.cache_dir, identities_);
    // A copy that is not there yet is written when the network is loaded, from its own files.
    const auto states = states_of(copy ? copy->checkpoint : own);
    for (const auto& [path, state] : states) files.push_back({path, state.size, state});
    ahead_[network] = std::make_unique<ReadAhead>(std::move(files), limit, [copier = copier_] { copier->settle(); });
  } catch (const Cancelled&) {
    throw;
  } catch (const Withdrawn&) {
    throw;
  } catch (const std::exception&) {  // it would only save time: loading it says what is wrong
    ahead_.erase(network);
  }
}

}  // namespace wan
