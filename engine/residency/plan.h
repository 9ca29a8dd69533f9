// Where every weight of every network lies in each phase of a job, and what that costs. Pure arithmetic: the same
// workload and the same machine give the same plan, here or elsewhere. A plan decides where weights lie and never a
// number: all plans give equal bytes, but for the VAE's tiles on a card, which follow from the card's memory as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/residency/machine.h"
#include "engine/residency/placed_blocks.h"
#include "engine/residency/vae_way.h"
#include "engine/residency/workload.h"

namespace wan {

/// One stage of the job.
struct PhasePlan {
  // "text", "sound", "encode", "high_noise", "low_noise", "speech", "decode"; "film" or "rife", which has no networks.
  std::string name;
  std::vector<NetworkPlan> networks;  // all that lie on the device or compute in it; the one that works is the first
  uint64_t activations = 0;           // on the device
  uint64_t device_bytes = 0;          // weights of all networks and activations
  uint64_t host_bytes = 0;            // of all networks, and pinned buffers
  uint64_t streamed_bytes = 0;        // that go through the link in this phase, loading not counted
  double load_seconds = 0;            // from files to the device before its first step, as far as it is not hidden
  double compute_seconds = 0;         // products, attention and memory traffic
  double copy_seconds = 0;            // the link or the disk behind it is busy so long
  double seconds = 0;                 // of the whole phase: loading, and computing with what of the copies is seen
  bool in_tiles = false;              // the VAE computes in tiles, and their caches are what goes through the link
  bool hidden = true;                 // every copy ends before its use, those of the first forward's first slots aside
};

struct Plan {
  std::vector<PhasePlan> phases;    // in their order
  bool keeps_all = false;           // every network is on the device in every phase, for the next job, too
  bool keeps_experts = false;       // both experts are there in both their phases
  bool prefetches_expert = false;   // the low-noise expert's blocks come in during the last high-noise step
  VaeWay vae = VaeWay::Shared;      // of decoding
  uint64_t pinned_bytes = 0;        // of the ring of pinned buffers
  double seconds = 0;               // of all phases
  std::vector<std::string> advice;  // what would make it faster, with how much; one sentence each

  uint64_t device_bytes() const;                          // of the phase that takes most
  const PhasePlan* phase(const std::string& name) const;  // nullptr where there is none
};

/// The plan of a job. Choices in their order: everything on the device; both experts; one expert whole, the other
/// prefetched into its place; blocks streamed through two or three slots with as many kept as fit. The text encoder is
/// whole, streamed or on the host; the VAE is a phase of its own where it does not fit beside the others.
/// Throws InvalidRequest (field memory, or device_memory where the user allows less) with what is needed, what is
/// there, and the largest setting that would fit.
Plan plan(const Workload& workload, const Machine& machine);

}  // namespace wan
