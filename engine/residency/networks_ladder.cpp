// What is given up, step by step, where the device runs out of memory.
#include <utility>

#include "engine/residency/networks.h"

namespace wan {

bool Networks::make_room(bool first) {
  if (!asked_) return false;
  const Network network = *asked_;
  const auto step = [&](const std::string& text) { log_("memory", {{"network", name(network)}, {"text", text}}); };
  working_ = {};
  entered_.reset();
  if (first) {
    keep_ = Keep::One;
    ran_out_ = true;
    drop_others(network);
    step("ran out: other networks and cached memory are given back, and the stage goes on from its last state");
    return true;
  }
  if (const auto kept = kept_.find(network); placement_.budget && kept != kept_.end() && kept->second > 0) {
    most_kept_[network] = kept->second / 2;
    drop(network);
    step("ran out: " + std::to_string(kept->second / 2) + " blocks stay on the device, " +
         std::to_string(kept->second) + " did");
    return true;
  }
  drop(network);
  if (network != Network::Vae) return false;
  // On the CPU it has no larger ones (windows_for).
  if (!placement_.device.is_cpu() && !std::exchange(small_windows_, true)) {
    step("ran out: the VAE takes its smallest windows");
    return true;
  }
  // On a card tiles have other last bits: what happens to be free must not decide about them.
  if (!placement_.device.is_cpu() || activations_.vae_tiles == 0 || std::exchange(tiles_, true)) return false;
  step("ran out: the VAE computes in tiles");
  return true;
}

}  // namespace wan
