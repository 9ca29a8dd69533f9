// How the weights of one network lie in a budget: all on the device, or some blocks in slots that others pass through.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/residency/block_sizes.h"

namespace wan {

/// Whole: all weights are on the device. Streamed: some blocks are, the others pass through slots, one after another,
/// at each forward. Host: it computes on the CPU, from its mapped files (the text encoder alone).
enum class Residency { Whole, Streamed, Host };
const char* residency_name(Residency residency);  // "whole", "streamed", "host"

struct NetworkPlan {
  Network network = Network::Vae;
  Residency residency = Residency::Whole;
  int64_t blocks = 0;       // that the network has
  int64_t kept_blocks = 0;  // of them, that stay on the device: all where it is Whole
  int64_t slots = 0;        // for the others; 0 where it is Whole
  /// Of the others, whose bytes as they lie on the device are held in host memory; the rest are made again from the
  /// file at each use.
  int64_t held_images = 0;
  uint64_t device_bytes = 0;  // that its weights take there: what is in no block, kept blocks and slots
  int64_t pinned_images = 0;  // of the held ones, in pinned memory; the first ones in their order
  uint64_t host_bytes = 0;    // of held images and of mapped files that are read again at each forward
};

/// Where the bytes of a streamed block come from.
enum class Image {
  Pinned,    // pinned host memory
  Pageable,  // ordinary host memory, or mapped pages that are there: through a pinned ring
  File,      // the disk, at each use
};

/// What one network has for itself.
struct Room {
  uint64_t device = 0;    // beside activations and other networks
  uint64_t host = 0;      // for images of blocks
  uint64_t pinnable = 0;  // of that
};

/// Streamed through so many slots, with as many kept blocks as fit into `room` bytes, at most `most_kept`; nothing
/// where the slots and what is in no block do not fit, or there are fewer blocks than slots. Images on the host are not
/// decided.
std::optional<NetworkPlan> place_streamed(const NetworkSizes& sizes, int64_t slots, uint64_t room,
                                          int64_t most_kept = INT64_MAX);
/// Whole where it fits, else Streamed through three slots, or two where three have no room, with as many blocks kept as
/// fit. Throws std::length_error where not even two slots and what is in no block fit.
NetworkPlan place_network(const NetworkSizes& sizes, const Room& room);
/// Which networks lie on the device in more than one phase: all of them, both experts, or only the one that works.
enum class Keep { All, Experts, One };
/// The first of these that has room in `budget` bytes. `working`: activations of the stage that has most; `denoise`: of
/// a step. The audio encoder, which computes on the CPU, counts nothing.
Keep keep_for(const std::map<Network, NetworkSizes>& networks, uint64_t working, uint64_t denoise, uint64_t budget);

/// Whether the second expert moves into the memory of the first block by block, which hides the switch: not where the
/// first alone would be whole and the two in one memory would not. Blocks kept in that memory, and by the first alone.
inline bool is_worth_sharing(int64_t kept_shared, int64_t kept_alone, int64_t blocks) {
  return kept_shared == blocks || kept_alone < blocks;
}

/// The least that the device must hold of it: two slots and what is in no block, or all of it where that is less.
uint64_t least_bytes(const NetworkSizes& sizes);

/// `marked` of `count` spread evenly, as flags: of blocks those that stay on the device, so that each copy has several
/// blocks' computing to hide behind. The first unmarked one comes as late as the spread allows. As streamed_of
/// (models/weights/block_memory.h) has it.
std::vector<bool> spread_evenly(int64_t count, int64_t marked);
/// Which blocks stay on the device in this plan.
std::vector<bool> kept_blocks(const NetworkPlan& plan);

/// Where each block's bytes come from, in the order of all blocks; kept ones are Pinned and never copied.
std::vector<Image> images_of(const NetworkPlan& plan);

}  // namespace wan
